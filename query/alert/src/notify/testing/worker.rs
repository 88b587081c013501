//! Whole notifiers against real servers: failures, waits, restarts, limits, and what is shown of them. The clock stands
//! still until it is moved.

use std::sync::Arc;
use std::time::Duration;

use orrery_model::Clock;

use super::super::config::{ChannelConfig, Credentials, Grouping, HttpConfig, NotifierConfig};
use super::super::inbox::MAX_ALERTS;
use super::super::metrics::Metric;
use super::super::secret::Secret;
use super::super::{Alert, Notifiers, Notify};
use super::http::{to, webhook};
use super::sink::{Answer, Sink, poll};
use super::{MemoryState, SECOND, SetClock, alert, ended};

const EXTERNAL: &str = "http://orrery.example.com";

fn named(name: &str, channel: ChannelConfig) -> NotifierConfig {
    NotifierConfig { name: name.to_owned(), channel, grouping: Grouping::default() }
}

/// Notifiers with what they run on.
struct Rig {
    configs: Vec<NotifierConfig>,
    state: Arc<MemoryState>,
    clock: Arc<SetClock>,
    notifiers: Notifiers,
}

impl Rig {
    async fn new(configs: Vec<NotifierConfig>) -> Self {
        let (state, clock) = (Arc::new(MemoryState::default()), SetClock::new());
        let notifiers = start(&configs, &state, &clock).await;
        Self { configs, state, clock, notifiers }
    }

    /// As `kill -9` and a start.
    async fn restart(&mut self) {
        let none = start(&[], &Arc::default(), &self.clock).await;
        drop(std::mem::replace(&mut self.notifiers, none));
        self.notifiers = start(&self.configs, &self.state, &self.clock).await;
    }

    fn give(&self, alert: &Alert) {
        self.notifiers.take(vec![alert.clone()]);
    }

    /// Moves the clock and wakes the workers up.
    fn forward(&self, seconds: u64) {
        self.clock.forward(Duration::from_secs(seconds));
        self.notifiers.take(Vec::new());
    }

    fn value(&self, metric: Metric, reason: &str) -> f64 {
        let of = |sample: &&super::super::Sample| {
            sample.metric == metric && (reason.is_empty() || sample.labels.iter().any(|(_, value)| value == reason))
        };
        self.notifiers.samples().iter().find(of).expect("every metric is there").value
    }

    async fn until(&self, metric: Metric, value: f64) {
        poll(&format!("{metric:?} {value}"), || (self.value(metric, "") == value).then_some(())).await;
    }
}

async fn start(configs: &[NotifierConfig], state: &Arc<MemoryState>, clock: &Arc<SetClock>) -> Notifiers {
    Notifiers::start(configs, EXTERNAL, Arc::clone(state) as _, Arc::clone(clock) as _).await.expect("started")
}

fn errors() -> Alert {
    alert(&[("alertname", "Errors"), ("service", "cart")])
}

#[tokio::test]
async fn failures_are_tried_again_ever_more_rarely_until_they_succeed() {
    let sink = Sink::start().await;
    sink.answer([Answer::status(503)]);
    let rig = Rig::new(vec![named("am", ChannelConfig::Alertmanager(to(sink.url("/"))))]).await;
    rig.give(&errors());
    sink.wait_for(1).await;
    for failures in 1..=6_u32 {
        let gate = |row: &String| {
            let gate: serde_json::Value = serde_json::from_str(row).expect("JSON");
            (gate["failures"] == failures).then(|| gate["closed_until_ns"].as_i64().expect("a time"))
        };
        let kept = || rig.state.rows.lock().get("am/").and_then(gate);
        let closed_until_ns = poll(&format!("failure {failures}"), kept).await;
        let (wait_ns, longest_s) = (closed_until_ns - rig.clock.now_ns(), 1 << (failures - 1));
        assert!(
            (longest_s * SECOND / 2..=longest_s * SECOND).contains(&wait_ns),
            "{wait_ns} ns after {failures} failures"
        );
        assert_eq!(sink.asked().len(), failures as usize, "no attempt before its time");
        if failures < 6 {
            rig.forward(longest_s.unsigned_abs());
        }
    }
    let status = &rig.notifiers.status()[0];
    assert_eq!((status.name.as_str(), status.kind.as_str(), status.sent, status.queued), ("am", "alertmanager", 0, 1));
    assert_eq!(status.failing_since.as_deref(), Some("2023-11-14T22:13:20.000000000Z"));
    assert!(status.last_error.as_deref().is_some_and(|error| error.contains("503")), "{status:?}");
    assert_eq!((rig.value(Metric::Failing, ""), rig.value(Metric::Queued, "")), (1.0, 1.0));
    sink.answer([Answer::status(200)]);
    rig.forward(60);
    rig.until(Metric::Sent, 1.0).await;
    rig.until(Metric::Queued, 0.0).await;
    let status = &rig.notifiers.status()[0];
    assert!(status.failing_since.is_none() && status.last_success.is_some() && status.failed == 6, "{status:?}");
    assert_eq!(rig.value(Metric::Failing, ""), 0.0);
}

#[tokio::test]
async fn what_failed_survives_a_kill_and_waits_no_less() {
    let sink = Sink::start().await;
    sink.answer([Answer::status(429).with("retry-after", "40")]);
    let mut rig = Rig::new(vec![named("hook", webhook(to(sink.url("/"))))]).await;
    rig.give(&errors());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(sink.asked().len(), 0, "the group waits");
    rig.forward(31);
    rig.until(Metric::Failed, 1.0).await;
    poll("the failure to be kept", || rig.state.rows.lock().contains_key("hook/").then_some(())).await;
    sink.answer([Answer::status(200)]);
    rig.restart().await;
    assert!(rig.notifiers.status()[0].failing_since.is_some(), "still failing");
    rig.forward(35);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(sink.asked().len(), 1, "it was asked to wait");
    rig.forward(6);
    let asked = sink.wait_for(2).await;
    assert_eq!(asked[1].json()["alerts"][0]["labels"]["service"], "cart");
    rig.until(Metric::Sent, 1.0).await;
    poll("the rest to be forgotten", || (!rig.state.rows.lock().contains_key("hook/")).then_some(())).await;
}

#[tokio::test]
async fn an_end_is_told_after_a_kill_and_nothing_twice() {
    let sink = Sink::start().await;
    let mut rig = Rig::new(vec![named("hook", webhook(to(sink.url("/"))))]).await;
    rig.give(&errors());
    // Told of at once, since it has fired for longer than the wait.
    poll("the alert to be taken", || (!rig.state.rows.lock().is_empty()).then_some(())).await;
    rig.forward(31);
    rig.until(Metric::Sent, 1.0).await;
    poll("it to be kept", || rig.state.rows.lock().values().any(|row| row.contains("\"said\":{")).then_some(())).await;
    rig.restart().await;
    rig.give(&errors());
    rig.forward(200);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(sink.asked().len(), 1, "it was told before the kill");
    rig.give(&ended(&errors()));
    poll("its end to be kept", || {
        rig.state.rows.lock().values().any(|row| row.contains("\"state\":\"resolved\"")).then_some(())
    })
    .await;
    rig.restart().await;
    rig.forward(200);
    let asked = sink.wait_for(2).await;
    assert_eq!(
        (&asked[1].json()["status"], &asked[1].json()["alerts"][0]["status"]),
        (&"resolved".into(), &"resolved".into())
    );
    rig.until(Metric::Sent, 1.0).await;
    poll("all to be forgotten", || rig.state.rows.lock().is_empty().then_some(())).await;
}

#[tokio::test]
async fn one_that_hangs_keeps_no_other_from_its_work() {
    let (slow, quick) = (Sink::start().await, Sink::start().await);
    slow.answer([Answer::status(200).after(Duration::from_secs(600))]);
    let configs = vec![
        named(
            "slow",
            ChannelConfig::Alertmanager(HttpConfig { timeout: Duration::from_secs(600), ..to(slow.url("/")) }),
        ),
        named("quick", ChannelConfig::Alertmanager(to(quick.url("/")))),
    ];
    let rig = Rig::new(configs).await;
    rig.give(&errors());
    slow.wait_for(1).await;
    quick.wait_for(1).await;
    rig.give(&ended(&errors()));
    quick.wait_for(2).await;
    // Nor the stop, for long.
    tokio::time::timeout(Duration::from_secs(20), rig.notifiers.stop()).await.expect("the stop ends");
}

#[tokio::test]
async fn a_rest_for_the_destination_ends_with_one_attempt_at_a_time() {
    let sink = Sink::start().await;
    sink.answer([Answer::status(500).after(Duration::from_millis(50))]);
    let grouping = Grouping { by: super::super::config::GroupBy::All, ..Grouping::default() };
    let rig = Rig::new(vec![NotifierConfig { grouping, ..named("hook", webhook(to(sink.url("/")))) }]).await;
    for n in 0..20 {
        rig.give(&alert(&[("alertname", "Errors"), ("n", &n.to_string())]));
    }
    rig.forward(31);
    let first = sink.wait_for(4).await.len();
    rig.until(Metric::Failed, 4.0).await;
    assert_eq!(first, 4, "a few at once");
    rig.forward(60);
    rig.until(Metric::Failed, 5.0).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(sink.asked().len(), 5, "one tries whether it is back");
    sink.answer([Answer::status(200)]);
    rig.forward(60);
    rig.until(Metric::Sent, 20.0).await;
}

#[tokio::test]
async fn what_finds_no_room_is_counted() {
    let sink = Sink::start().await;
    let rig = Rig::new(vec![named("hook", webhook(to(sink.url("/"))))]).await;
    rig.notifiers.take((0..MAX_ALERTS + 7).map(|n| alert(&[("n", &n.to_string())])).collect());
    assert_eq!(rig.value(Metric::Dropped, "full"), 7.0);
}

#[tokio::test]
async fn a_state_that_cannot_be_written_stops_no_notification() {
    let sink = Sink::start().await;
    let rig = Rig::new(vec![named("hook", webhook(to(sink.url("/"))))]).await;
    *rig.state.broken.lock() = true;
    rig.give(&errors());
    poll("the failure to be counted", || (rig.value(Metric::StateFailures, "") > 0.0).then_some(())).await;
    rig.forward(31);
    sink.wait_for(1).await;
    assert!(rig.state.rows.lock().is_empty());
    *rig.state.broken.lock() = false;
    rig.forward(1);
    poll("it to be kept after all", || (!rig.state.rows.lock().is_empty()).then_some(())).await;
}

#[tokio::test]
async fn what_belongs_to_no_notifier_any_more_is_forgotten() {
    let sink = Sink::start().await;
    let mut rig =
        Rig::new(vec![named("old", webhook(to(sink.url("/")))), named("old2", webhook(to(sink.url("/"))))]).await;
    rig.give(&errors());
    let both = |rig: &Rig| {
        rig.state.rows.lock().keys().map(|key| key.split('/').next().map(str::to_owned)).collect::<Vec<_>>()
    };
    poll("both to keep it", || (both(&rig).len() == 2).then_some(())).await;
    rig.configs.remove(0);
    rig.restart().await;
    assert_eq!(both(&rig), [Some("old2".to_owned())]);
}

#[tokio::test]
async fn no_alert_ends_because_everything_slept() {
    let sink = Sink::start().await;
    let rig = Rig::new(vec![named("hook", webhook(to(sink.url("/"))))]).await;
    rig.give(&errors());
    poll("the alert to be taken", || (!rig.state.rows.lock().is_empty()).then_some(())).await;
    rig.forward(31);
    rig.until(Metric::Sent, 1.0).await;
    rig.forward(3600);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(sink.asked().len(), 1, "nobody said that it ended");
    // Awake, it is not heard of for longer than it is valid.
    for _ in 0..11 {
        rig.forward(60);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = sink.wait_for(2).await;
    assert_eq!(asked[1].json()["status"], "resolved");
}

#[tokio::test]
async fn a_clock_that_is_set_back_delays_nothing() {
    let sink = Sink::start().await;
    let mut rig = Rig::new(vec![named("hook", webhook(to(sink.url("/"))))]).await;
    rig.give(&errors());
    poll("the alert to be taken", || (!rig.state.rows.lock().is_empty()).then_some(())).await;
    rig.clock.back(Duration::from_secs(3600));
    rig.notifiers.take(Vec::new());
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.forward(31);
    rig.until(Metric::Sent, 1.0).await;
    poll("it to be kept", || rig.state.rows.lock().values().any(|row| row.contains("\"said\":{")).then_some(())).await;
    // Nor one that is set back while nobody watches.
    rig.clock.back(Duration::from_secs(3600));
    rig.restart().await;
    rig.give(&ended(&errors()));
    poll("its end to be kept", || {
        rig.state.rows.lock().values().any(|row| row.contains("\"state\":\"resolved\"")).then_some(())
    })
    .await;
    rig.forward(300);
    assert_eq!(sink.wait_for(2).await[1].json()["status"], "resolved");
}

#[tokio::test]
async fn secrets_are_shown_nowhere() {
    let sink = Sink::start().await;
    let path = "/services/T0000AAAA/s3cr3t-hook-part";
    let logged = Log::default();
    let _guard = tracing::subscriber::set_default(
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(logged.clone())
            .finish(),
    );
    sink.answer([Answer::status(500).saying(&format!("no {path} for Bearer s3cr3t-token"))]);
    let credentials = Credentials::Bearer(Secret::Text("s3cr3t-token".to_owned()));
    let closed = "http://127.0.0.1:1/s3cr3t-hook-part".to_owned();
    let configs = vec![
        named(
            "answers",
            ChannelConfig::Alertmanager(HttpConfig { credentials: credentials.clone(), ..to(sink.url(path)) }),
        ),
        named("closed", ChannelConfig::Alertmanager(HttpConfig { credentials, ..to(closed) })),
    ];
    let rig = Rig::new(configs).await;
    rig.give(&errors());
    poll("both to fail", || rig.notifiers.status().iter().all(|status| status.failed > 0).then_some(())).await;
    let shown = format!("{:?}\n{:?}\n{:?}", rig.configs, rig.notifiers.status(), rig.notifiers.samples());
    let logged = String::from_utf8(logged.0.lock().clone()).expect("text");
    assert!(logged.contains("a notification could not be sent") && logged.contains("[secret]"), "{logged}");
    assert!(!logged.contains("s3cr3t"), "{logged}");
    assert!(shown.contains("[secret]") && !shown.contains("s3cr3t"), "{shown}");
    let kept = format!("{:?}", rig.state.rows.lock());
    assert!(kept.contains("Errors") && !kept.contains("s3cr3t"), "{kept}");
    assert_eq!(sink.asked()[0].header("authorization"), "Bearer s3cr3t-token");
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_without_its_secrets() {
    let (state, clock) = (Arc::new(MemoryState::default()), SetClock::new());
    for (http, part) in [
        (to("s3cr3t".to_owned()), "cannot be read"),
        (to("ftp://127.0.0.1/s3cr3t".to_owned()), "http://"),
        (HttpConfig { url: Secret::File("/nonexistent/url".into()), ..to(String::new()) }, "/nonexistent/url"),
        (HttpConfig { allow_private: false, ..to("http://[::ffff:10.1.2.3]/s3cr3t".to_owned()) }, "allow_private"),
        (HttpConfig { allow_private: false, ..to("http://2130706433/s3cr3t".to_owned()) }, "127.0.0.1"),
        (HttpConfig { ca_file: Some("/nonexistent/ca".into()), ..to("https://127.0.0.1/".to_owned()) }, "ca_file"),
        (
            HttpConfig {
                credentials: Credentials::Bearer(Secret::Text("s3cr3t\n".into())),
                ..to("http://127.0.0.1/".into())
            },
            "no header",
        ),
    ] {
        let configs = [named("x", webhook(http))];
        let started = Notifiers::start(&configs, EXTERNAL, Arc::clone(&state) as _, clock.clone() as _);
        let error = started.await.err().expect("refused").to_string();
        assert!(error.starts_with("notifier \"x\": ") && error.contains(part) && !error.contains("s3cr3t"), "{error}");
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<parking_lot::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
