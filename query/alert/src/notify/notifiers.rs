//! All notifiers of the configuration, each with its task. Hands alerts on to all of them, and never waits for one.

use std::sync::Arc;

use orrery_api::NotifierStatus;
use orrery_model::Clock;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::channel::Channel;
use super::config::NotifierConfig;
use super::inbox::Inbox;
use super::metrics::{self, Sample};
use super::state::{self, NotifyState, StateError};
use super::status::Counters;
use super::worker::{Parts, Worker};
use super::{Alert, Notify, channel, queue};

pub struct Notifiers {
    handles: Vec<Handle>,
    /// Ended by `stop`, or at once where that is not called.
    tasks: Mutex<JoinSet<()>>,
    stop: CancellationToken,
}

/// What is left here of a notifier whose worker runs.
struct Handle {
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
}

/// Why the notifiers cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    #[error("notifier {name:?}: {message}")]
    Config { name: String, message: String },
    #[error("read what notifiers have sent: {0}")]
    State(#[from] StateError),
}

impl Notifiers {
    /// Says what of a configuration cannot be used: files that cannot be read, addresses that are none. Connects to nothing.
    pub fn check(configs: &[NotifierConfig]) -> Result<(), NotifyError> {
        for config in configs {
            open(config, "")?;
        }
        Ok(())
    }

    /// Takes up what was under way before the restart, and forgets what belonged to notifiers that are no more.
    /// `external_url` is where people reach the dashboard, without a slash at its end.
    pub async fn start(
        configs: &[NotifierConfig],
        external_url: &str,
        state: Arc<dyn NotifyState>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, NotifyError> {
        let stop = CancellationToken::new();
        let mut rows = state::load(&*state, configs).await?;
        let (mut handles, mut tasks) = (Vec::new(), JoinSet::new());
        for config in configs {
            let channel = open(config, external_url)?;
            let handle = Handle {
                inbox: Arc::new(Inbox::default()),
                counters: Arc::new(Counters::new(&config.name, config.channel.kind())),
            };
            let worker = Worker::new(Parts {
                name: config.name.clone(),
                queue: queue::open(config),
                channel,
                inbox: Arc::clone(&handle.inbox),
                counters: Arc::clone(&handle.counters),
                state: Arc::clone(&state),
                clock: Arc::clone(&clock),
            });
            let worker = worker.restore(rows.remove(&config.name).unwrap_or_default());
            tasks.spawn(worker.run(stop.clone()));
            handles.push(handle);
        }
        Ok(Self { handles, tasks: Mutex::new(tasks), stop })
    }

    /// Every value, grouped by metric.
    pub fn samples(&self) -> Vec<Sample> {
        let counters: Vec<&Counters> = self.handles.iter().map(|handle| &*handle.counters).collect();
        metrics::samples(&counters)
    }

    /// Lets what is being sent arrive, for a few seconds, and keeps the rest for the next start.
    pub async fn stop(&self) {
        self.stop.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        while tasks.join_next().await.is_some() {}
    }
}

fn open(config: &NotifierConfig, external_url: &str) -> Result<Arc<dyn Channel>, NotifyError> {
    let fail = |message: String| NotifyError::Config { name: config.name.clone(), message };
    channel::open(config, external_url).map_err(fail)
}

impl Notify for Notifiers {
    fn take(&self, alerts: Vec<Alert>) {
        let alerts: Vec<Arc<Alert>> = alerts.into_iter().map(Arc::new).collect();
        for handle in &self.handles {
            handle.counters.count_full(handle.inbox.put(&alerts));
        }
    }

    fn status(&self) -> Vec<NotifierStatus> {
        self.handles.iter().map(|handle| handle.counters.status()).collect()
    }
}
