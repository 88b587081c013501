//! The demo: a small shop of nine services that lives beside the server and sends its telemetry through the real OTLP
//! port. Never writes to the lake in any other way.

mod service;
mod shop;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use shop::Shop;

/// Visits at once; while there are more, nobody new comes in.
const MAX_VISITORS: usize = 512;

/// Runs the shop until it is dropped: `rate` visits a second.
pub async fn run(endpoint: String, rate: f64) -> Result<()> {
    let (shop, queues) = Shop::open(&endpoint)?;
    let shop = Arc::new(shop);
    tracing::info!(endpoint, rate, "the demo shop is open");
    let places = Arc::new(Semaphore::new(MAX_VISITORS));
    let mut visits = JoinSet::new();
    let worker = Arc::clone(&shop);
    visits.spawn(async move { worker.work_off(queues).await });
    let mut door = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    door.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for number in 0.. {
        door.tick().await;
        while visits.try_join_next().is_some() {}
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let shop = Arc::clone(&shop);
            visits.spawn(async move {
                let _place = place;
                shop.visit(number).await;
            });
        }
    }
    Ok(())
}
