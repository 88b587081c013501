//! Evaluation: keeps the groups of all good rule files running, over reloads, restarts and the stop. One a process.

mod context;
mod files;
pub mod group;
mod history;
pub mod keep;
pub mod query;
pub mod schedule;
mod traces;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orrery_model::Clock;
use orrery_query::{Engine, LaneConfig, QueryError};
use orrery_storage::{AlertChanges, AlertState, Store};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify as Wake;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::context::Context;
use self::files::{Files, Loaded};
use self::group::{Counts, Now, Running, RunningRule, leaving, nanoseconds};
use self::history::History;
use self::keep::RuleKey;
use self::schedule::Slots;
use crate::labels::Fingerprint;
use crate::notify::Notify;
use crate::rules::Patterns;
use crate::state::{Alert, Alerts, Terms};

/// How often the rule files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The interval of groups that do not say, as in Prometheus.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

/// How rules are evaluated.
#[derive(Clone, Debug)]
pub struct AlertConfig {
    pub patterns: Patterns,
    /// Of groups that do not say.
    pub interval: Duration,
    /// Where people reach this server, without a slash at its end.
    pub external_url: String,
    /// What the rules' queries may take.
    pub lane: LaneConfig,
}

/// Whom alerting works with.
pub struct Around {
    pub engine: Arc<Engine>,
    pub store: Arc<Store>,
    pub state: Arc<AlertState>,
    pub notify: Arc<dyn Notify>,
    pub clock: Arc<dyn Clock>,
}

/// Why alerting cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    #[error("read the state of alerts: {0}")]
    State(#[from] orrery_storage::LakeError),
    #[error("make room for the rules' queries: {0}")]
    Query(#[from] QueryError),
}

/// The rules of this server and their alerts.
pub struct Alerting {
    context: Arc<Context>,
    shown: Arc<Shown>,
    /// Looks at the rule files at once.
    look: Arc<Wake>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What is to be seen of the rules at this moment.
#[derive(Default)]
struct Shown {
    groups: RwLock<Vec<Arc<Running>>>,
    files: RwLock<Vec<orrery_api::RuleFile>>,
}

impl Alerting {
    /// Reads the state of before and the rule files, and begins. A bad rule file stops nothing; it is shown.
    pub async fn start(config: AlertConfig, around: Around) -> Result<Arc<Self>, AlertError> {
        let Around { engine, store, state, notify, clock } = around;
        let lane = Arc::new(engine.lane(config.lane));
        let kept = state.load().await?;
        let context = Arc::new(Context::new(engine, lane, clock, notify, config.external_url, state));
        let stop = CancellationToken::new();
        let history = History {
            state: Arc::clone(&context.state),
            store,
            engine: Arc::clone(&context.engine),
            lane: Arc::clone(&context.lane),
            clock: Arc::clone(&context.clock),
            wanted: Arc::clone(&context.history),
        };
        let (shown, look) = (Arc::<Shown>::default(), Arc::<Wake>::default());
        let mut supervisor = Supervisor {
            patterns: config.patterns,
            interval: config.interval,
            context: Arc::clone(&context),
            shown: Arc::clone(&shown),
            files: Files::default(),
            running: BTreeMap::new(),
            kept: keep::read(kept.alerts),
            last_evaluations: kept.last_evaluations,
        };
        supervisor.look().await;
        let task = tokio::spawn(supervisor.run(history, Arc::clone(&look), stop.clone()));
        Ok(Arc::new(Self { context, shown, look, stop, task: Mutex::new(Some(task)) }))
    }

    /// Looks at the rule files now, whatever their times say.
    pub fn reload(&self) {
        self.look.notify_one();
    }

    /// Ends the evaluations under way and brings the history into the lake. Call it before the store is closed.
    pub async fn stop(&self) {
        self.stop.cancel();
        let task = self.task.lock().take();
        if let Some(task) = task
            && task.await.is_err()
        {
            tracing::error!("the alerting panicked");
        }
    }
}

/// Starts and ends groups as their files come, change and go.
struct Supervisor {
    patterns: Patterns,
    interval: Duration,
    context: Arc<Context>,
    shown: Arc<Shown>,
    files: Files,
    running: BTreeMap<String, RunningFile>,
    /// Alerts of before the start whose rules have not been seen since.
    kept: HashMap<RuleKey, BTreeMap<Fingerprint, Alert>>,
    last_evaluations: HashMap<String, i64>,
}

struct RunningFile {
    loaded: Arc<Loaded>,
    groups: Vec<(Arc<Running>, JoinHandle<()>)>,
    stop: CancellationToken,
}

impl Supervisor {
    async fn run(mut self, history: History, look: Arc<Wake>, stop: CancellationToken) {
        let history_stop = CancellationToken::new();
        let history = tokio::spawn(history.run(history_stop.clone()));
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = look.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY), if !self.patterns.is_empty() => {}
            }
            self.look().await;
        }
        for (_, file) in std::mem::take(&mut self.running) {
            end(file).await;
        }
        history_stop.cancel();
        if history.await.is_err() {
            tracing::error!("the history of alerts panicked");
        }
    }

    /// Makes what runs what the files say.
    async fn look(&mut self) {
        if !self.files.look(&self.patterns, &self.context.engine, &self.context.lane).await && self.kept.is_empty() {
            return;
        }
        let wanted: BTreeMap<String, Arc<Loaded>> = self
            .files
            .0
            .iter()
            .filter_map(|(path, looked)| Some((path.clone(), Arc::clone(looked.good.as_ref()?))))
            .collect();
        let mut gone = Vec::new();
        for path in self.running.keys().cloned().collect::<Vec<_>>() {
            let stays = wanted.get(&path).is_some_and(|loaded| Arc::ptr_eq(loaded, &self.running[&path].loaded));
            if !stays && let Some(file) = self.running.remove(&path) {
                gone.extend(end(file).await);
            }
        }
        let mut before = Before::of(gone);
        for (path, loaded) in wanted {
            if !self.running.contains_key(&path) {
                let file = self.begin(loaded, &mut before);
                self.running.insert(path, file);
            }
        }
        before.rules.extend(self.take_orphans());
        self.retire(before.rules).await;
        self.show();
    }

    fn begin(&mut self, loaded: Arc<Loaded>, before: &mut Before) -> RunningFile {
        let stop = CancellationToken::new();
        let mut groups = Vec::with_capacity(loaded.groups.len());
        for (group, queries) in &loaded.groups {
            let interval = group.interval.unwrap_or(self.interval);
            let rules = group.rules.iter().zip(queries).map(|(rule, checked)| {
                let key = RuleKey::of(&loaded.path, &group.name, rule);
                let terms = Terms {
                    for_ns: nanoseconds(rule.hold),
                    keep_firing_for_ns: nanoseconds(rule.keep_firing_for),
                    limit: group.limit,
                    interval_ns: nanoseconds(interval),
                };
                let alerts = before.rules.remove(&key).unwrap_or_else(|| self.restored(&key));
                let now = Mutex::new(Now { alerts, ..Now::default() });
                RunningRule { key, rule: rule.clone(), checked: checked.clone(), terms, now }
            });
            let counts = Counts::default();
            let missed = before.missed.get(&(loaded.path.clone(), group.name.clone())).copied().unwrap_or(0);
            counts.missed.store(missed, std::sync::atomic::Ordering::Relaxed);
            let running = Arc::new(Running {
                rules: rules.collect(),
                slots: Slots::new(&loaded.path, &group.name, interval),
                file: loaded.path.clone(),
                group: group.clone(),
                interval,
                counts,
            });
            let task = tokio::spawn(Arc::clone(&running).run(Arc::clone(&self.context), stop.clone()));
            groups.push((running, task));
        }
        RunningFile { loaded, groups, stop }
    }

    /// A rule's alerts as they were before the start.
    fn restored(&mut self, key: &RuleKey) -> Alerts {
        match self.kept.remove(key) {
            Some(alerts) => Alerts::restored(alerts, self.last_evaluations.get(&key.group_text()).copied()),
            None => Alerts::default(),
        }
    }

    /// The kept alerts of rules that are gone for sure: their file is good, or no file of theirs is named any more. A
    /// refused file says nothing of the rules that it had.
    fn take_orphans(&mut self) -> HashMap<RuleKey, Alerts> {
        let unknown = |key: &RuleKey| self.files.0.get(&key.file).is_some_and(|looked| looked.good.is_none());
        let gone: Vec<RuleKey> = self.kept.keys().filter(|key| !unknown(key)).cloned().collect();
        gone.into_iter().map(|key| (key.clone(), self.restored(&key))).collect()
    }

    /// Ends the alerts of rules that are no more.
    async fn retire(&self, rules: HashMap<RuleKey, Alerts>) {
        let now_ns = self.context.clock.now_ns();
        let mut changes = AlertChanges::default();
        for (key, mut alerts) in rules {
            let outcome = alerts.retire(now_ns);
            let terms = Terms::default();
            let leaving = leaving(&self.context, &terms, &alerts, &outcome.send, now_ns);
            changes.extend(keep::changes(&key, &alerts, &outcome, now_ns));
            if !leaving.is_empty() {
                self.context.notify.take(leaving);
            }
        }
        if !changes.is_empty() {
            self.context.keep(changes).await;
        }
    }

    fn show(&self) {
        let groups = self.running.values().flat_map(|file| file.groups.iter().map(|(group, _)| Arc::clone(group)));
        *self.shown.groups.write() = groups.collect();
        *self.shown.files.write() =
            self.files.0.iter().map(|(path, looked)| view::file(path, &looked.faults)).collect();
    }
}

/// Waits for the evaluations under way.
async fn end(file: RunningFile) -> Vec<Arc<Running>> {
    file.stop.cancel();
    let mut groups = Vec::with_capacity(file.groups.len());
    for (group, task) in file.groups {
        if task.await.is_err() {
            tracing::error!(group = group.group.name, file = group.file, "a rule group panicked");
        }
        groups.push(group);
    }
    groups
}

/// What groups that have ended leave to those that follow them.
#[derive(Default)]
struct Before {
    rules: HashMap<RuleKey, Alerts>,
    /// By file and group.
    missed: HashMap<(String, String), u64>,
}

impl Before {
    fn of(groups: Vec<Arc<Running>>) -> Self {
        let mut before = Self::default();
        for group in groups {
            let missed = group.counts.missed.load(std::sync::atomic::Ordering::Relaxed);
            before.missed.insert((group.file.clone(), group.group.name.clone()), missed);
            for rule in &group.rules {
                before.rules.insert(rule.key.clone(), std::mem::take(&mut rule.now.lock().alerts));
            }
        }
        before
    }
}

/// The folder that relative patterns begin at: the configuration file's, else the working folder.
pub fn base_of(config: Option<&std::path::Path>) -> PathBuf {
    config.and_then(std::path::Path::parent).map(PathBuf::from).unwrap_or_default()
}
