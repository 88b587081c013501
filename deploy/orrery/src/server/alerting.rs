//! Starts what evaluates the rules, with the configuration's limits. Evaluates nothing itself.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use orrery_alert::notify::Notify;
use orrery_alert::rules::Patterns;
use orrery_alert::{AlertConfig, Alerting, Around};
use orrery_model::Clock;
use orrery_query::{Engine, LaneConfig};
use orrery_storage::{AlertState, Store};

use crate::config::Config;

/// Begins to evaluate; the store is open.
pub async fn start(
    config: &Config,
    external_url: &str,
    engine: Arc<Engine>,
    store: Arc<Store>,
    notify: Arc<dyn Notify>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<Alerting>> {
    let state = Arc::new(AlertState::open(&config.data_dir).await.context("open the state of alerts")?);
    let alerting = AlertConfig {
        patterns: Patterns::new(&config.base, &config.rules).map_err(|why| anyhow!("rules: {why}"))?,
        interval: config.alerting.interval.0,
        external_url: external_url.to_owned(),
        lane: lane(config),
    };
    Ok(Alerting::start(alerting, Around { engine, store, state, notify, clock }).await?)
}

fn lane(config: &Config) -> LaneConfig {
    let memory_bytes = config.alerting.memory.as_usize();
    LaneConfig {
        memory_bytes,
        query_memory_bytes: memory_bytes,
        deadline: config.alerting.deadline.0,
        max_concurrent: config.alerting.max_concurrent,
        // Many small queries: a plan of one partition costs least.
        partitions: 1,
        recent_bytes: memory_bytes / 2,
    }
}
