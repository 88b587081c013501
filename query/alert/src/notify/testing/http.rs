//! Webhooks and Alertmanager's API against a real server: the payloads to the letter, and all that a server can do wrong.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::Alert;
use super::super::channel::{Channel, open};
use super::super::config::{
    ChannelConfig, Credentials, Grouping, HttpConfig, NotifierConfig, SlackConfig, WebhookConfig,
};
use super::super::failure::{Remedy, SendError};
use super::super::queue::Notification;
use super::super::secret::Secret;
use super::sink::{Answer, Sink};
use super::{START_NS, alert, ended, labels, notification};

const EXTERNAL: &str = "http://orrery.example.com";

pub fn to(url: String) -> HttpConfig {
    HttpConfig {
        url: Secret::Text(url),
        credentials: Credentials::None,
        ca_file: None,
        allow_private: true,
        timeout: Duration::from_secs(10),
    }
}

pub fn webhook(http: HttpConfig) -> ChannelConfig {
    ChannelConfig::Webhook(WebhookConfig { http, max_alerts: 0 })
}

fn channel(channel: ChannelConfig) -> std::sync::Arc<dyn Channel> {
    opened(channel).expect("a good configuration")
}

fn opened(channel: ChannelConfig) -> Result<std::sync::Arc<dyn Channel>, String> {
    open(&NotifierConfig { name: "on-call".to_owned(), channel, grouping: Grouping::default() }, EXTERNAL)
}

fn two() -> Notification {
    let a = Alert {
        annotations: labels(&[("summary", "a fifth of all requests fail"), ("runbook", "https://wiki/errors")]),
        ..alert(&[("alertname", "Errors"), ("service", "cart"), ("severity", "page")])
    };
    let b = Alert {
        annotations: labels(&[("summary", "it was slow"), ("runbook", "https://wiki/errors")]),
        starts_at_ns: START_NS + 250_000_000,
        ..alert(&[("alertname", "Errors"), ("service", "shop"), ("severity", "page")])
    };
    notification(&["alertname"], &[&a, &ended(&b)])
}

async fn send(http: HttpConfig) -> Result<(), SendError> {
    channel(webhook(http)).send(&two()).await
}

#[tokio::test]
async fn a_webhook_gets_alertmanagers_payload_to_the_letter() {
    let sink = Sink::start().await;
    send(to(sink.url("/hook?team=shop"))).await.expect("sent");
    let [asked] = &sink.wait_for(1).await[..] else { panic!("one request") };
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/hook?team=shop"));
    assert_eq!(asked.header("content-type"), "application/json");
    assert_eq!(asked.header("host"), sink.address.to_string());
    assert!(asked.header("user-agent").starts_with("Orrery/"));
    let expected = concat!(
        r#"{"receiver":"on-call","status":"firing","alerts":["#,
        r#"{"status":"firing","labels":{"alertname":"Errors","service":"cart","severity":"page"},"#,
        r#""annotations":{"runbook":"https://wiki/errors","summary":"a fifth of all requests fail"},"#,
        r#""startsAt":"2023-11-14T22:13:20Z","endsAt":"0001-01-01T00:00:00Z","#,
        r#""generatorURL":"http://orrery.example.com/alerts?rule=Errors","fingerprint":"Errors-cart-page"},"#,
        r#"{"status":"resolved","labels":{"alertname":"Errors","service":"shop","severity":"page"},"#,
        r#""annotations":{"runbook":"https://wiki/errors","summary":"it was slow"},"#,
        r#""startsAt":"2023-11-14T22:13:20.25Z","endsAt":"2023-11-14T22:14:20Z","#,
        r#""generatorURL":"http://orrery.example.com/alerts?rule=Errors","fingerprint":"Errors-shop-page"}],"#,
        r#""groupLabels":{"alertname":"Errors"},"commonLabels":{"alertname":"Errors","severity":"page"},"#,
        r#""commonAnnotations":{"runbook":"https://wiki/errors"},"externalURL":"http://orrery.example.com","#,
        r#""version":"4","groupKey":"{}:{alertname=\"Errors\"}","truncatedAlerts":0}"#,
    );
    assert_eq!(String::from_utf8_lossy(&asked.body), expected);
}

#[tokio::test]
async fn a_webhook_leaves_alerts_out_where_it_is_told_to() {
    let sink = Sink::start().await;
    let config = WebhookConfig { http: to(sink.url("/")), max_alerts: 1 };
    channel(ChannelConfig::Webhook(config)).send(&two()).await.expect("sent");
    let body = sink.wait_for(1).await[0].json();
    assert_eq!((body["alerts"].as_array().map(Vec::len), &body["truncatedAlerts"]), (Some(1), &json!(1)));
}

#[tokio::test]
async fn alertmanager_gets_what_its_api_describes() {
    let sink = Sink::start().await;
    channel(ChannelConfig::Alertmanager(to(sink.url("/prefix/")))).send(&two()).await.expect("sent");
    let [asked] = &sink.wait_for(1).await[..] else { panic!("one request") };
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/prefix/api/v2/alerts"));
    let url = "http://orrery.example.com/alerts?rule=Errors";
    let expected = json!([
        {
            "labels": {"alertname": "Errors", "service": "cart", "severity": "page"},
            "annotations": {"summary": "a fifth of all requests fail", "runbook": "https://wiki/errors"},
            "startsAt": "2023-11-14T22:13:20Z", "endsAt": "2023-11-14T22:17:20Z", "generatorURL": url,
        },
        {
            "labels": {"alertname": "Errors", "service": "shop", "severity": "page"},
            "annotations": {"summary": "it was slow", "runbook": "https://wiki/errors"},
            "startsAt": "2023-11-14T22:13:20.25Z", "endsAt": "2023-11-14T22:14:20Z", "generatorURL": url,
        },
    ]);
    assert_eq!(asked.json(), expected);
}

#[tokio::test]
async fn slack_gets_text_that_can_neither_link_nor_mention() {
    let sink = Sink::start().await;
    let config =
        SlackConfig { http: to(sink.url("/services/T/B/X")), channel: Some("#ops".to_owned()), username: None };
    let sly = Alert {
        annotations: labels(&[("summary", "<!channel> & <https://evil.example|click> @here")]),
        ..alert(&[("alertname", "Errors"), ("service", "cart")])
    };
    let shop = ended(&alert(&[("alertname", "Errors"), ("service", "shop")]));
    let sent = notification(&["alertname"], &[&sly, &shop]);
    channel(ChannelConfig::Slack(config)).send(&sent).await.expect("sent");
    let trace = "<http://orrery.example.com/trace/0af7651916cd43dd8448eb211c80319c|trace 1>";
    let text = format!(
        "Firing: &lt;!channel&gt; &amp; &lt;https://evil.example|click&gt; @\u{200b}here\nservice=cart\n\
         since 2023-11-14 22:13:20 UTC, value 0.25\n{trace}\n\
         Resolved: it is broken\nservice=shop\nfrom 2023-11-14 22:13:20 UTC to 2023-11-14 22:14:20 UTC\n{trace}"
    );
    let expected = json!({
        "attachments": [{
            "fallback": "[FIRING:1] Errors", "title": "[FIRING:1] Errors", "color": "#c62828",
            "title_link": "http://orrery.example.com/alerts", "text": text,
        }],
        "channel": "#ops",
    });
    assert_eq!(sink.wait_for(1).await[0].json(), expected);
    let many: Vec<Alert> = (0..25).map(|n| ended(&alert(&[("n", &n.to_string())]))).collect();
    let many = notification(&[], &many.iter().collect::<Vec<_>>());
    let config = SlackConfig { http: to(sink.url("/")), channel: None, username: Some("Orrery".to_owned()) };
    channel(ChannelConfig::Slack(config)).send(&many).await.expect("sent");
    let body = sink.wait_for(2).await[1].json();
    let text = body["attachments"][0]["text"].as_str().expect("text");
    assert!(text.ends_with("\nand 5 more") && text.matches("Resolved:").count() == 20, "{text}");
    assert_eq!((&body["attachments"][0]["color"], &body["username"]), (&json!("#2e7d32"), &json!("Orrery")));
}

#[tokio::test]
async fn answers_say_whether_trying_again_helps() {
    let sink = Sink::start().await;
    let asked_to_wait = |seconds| Remedy::Wait(Some(Duration::from_secs(seconds)));
    for (answer, remedy, part) in [
        (Answer::status(500).saying("out of\nmemory"), Remedy::Wait(None), "500 Internal Server Error: out of memory"),
        (Answer::status(503).with("retry-after", "7"), asked_to_wait(7), "503"),
        (Answer::status(429).with("retry-after", "120"), asked_to_wait(120), "429"),
        (Answer::status(429).with("retry-after", "soon"), Remedy::Wait(None), "429"),
        (Answer::status(408), Remedy::Wait(None), "408"),
        (Answer::status(400).saying("invalid_payload"), Remedy::Change, "400 Bad Request: invalid_payload"),
        (Answer::status(404), Remedy::Change, "404"),
        (Answer::status(410), Remedy::Change, "410"),
    ] {
        sink.answer([answer]);
        let error = send(to(sink.url("/"))).await.expect_err("no success");
        assert_eq!(error.remedy, remedy, "{error}");
        assert!(error.message.contains(part) && error.message.contains(&sink.address.to_string()), "{error}");
    }
    for status in [200, 201, 202, 204] {
        sink.answer([Answer::status(status)]);
        assert_eq!(send(to(sink.url("/"))).await, Ok(()), "{status}");
    }
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let error = send(to(format!("http://{closed}/"))).await.expect_err("nobody listens");
    assert!(error.remedy == Remedy::Wait(None) && error.message.contains("refused"), "{error}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (sink, elsewhere) = (Sink::start().await, Sink::start().await);
    for status in [301, 302, 303, 307, 308] {
        sink.answer([Answer::status(status).with("location", &elsewhere.url("/"))]);
        let error = send(to(sink.url("/"))).await.expect_err("a redirect");
        assert!(error.remedy == Remedy::Change && error.message.contains("redirects are not followed"), "{error}");
    }
    assert_eq!((sink.asked().len(), elsewhere.connections()), (5, 0));
}

#[tokio::test]
async fn private_addresses_are_not_connected_to_unless_that_is_allowed() {
    let sink = Sink::start().await;
    let port = sink.address.port();
    let public_only = |host: &str| HttpConfig { allow_private: false, ..to(format!("http://{host}:{port}/")) };
    for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1"] {
        let error = opened(webhook(public_only(host))).err().expect(host);
        assert!(error.contains("allow_private"), "{host}: {error}");
    }
    let error = send(public_only("localhost")).await.expect_err("a name that resolves to this machine");
    assert!(error.remedy == Remedy::Change && error.message.contains("allow_private"), "{error}");
    // A file can name another address than it did at the start.
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "https://1.1.1.1/").expect("written");
    let later = channel(webhook(HttpConfig { url: Secret::File(file.path().to_owned()), ..public_only("") }));
    std::fs::write(file.path(), sink.url("/")).expect("written");
    assert_eq!(later.send(&two()).await.expect_err("this machine").remedy, Remedy::Change);
    assert_eq!(sink.connections(), 0);
    send(to(format!("http://localhost:{port}/"))).await.expect("allowed");
}

#[tokio::test]
async fn slow_and_endless_answers_end() {
    let sink = Sink::start().await;
    sink.answer([Answer::status(200).after(Duration::from_secs(60))]);
    let started = Instant::now();
    let error =
        send(HttpConfig { timeout: Duration::from_millis(300), ..to(sink.url("/")) }).await.expect_err("too slow");
    assert!(error.remedy == Remedy::Wait(None) && error.message.contains("no answer"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    sink.answer([Answer::status(500).saying(&"x".repeat(50 << 20))]);
    let error = send(to(sink.url("/"))).await.expect_err("a failure");
    assert!(error.message.len() < 1000, "{} bytes", error.message.len());
    sink.answer([Answer::status(500).with("x-long", &"x".repeat(1 << 20))]);
    let error = send(to(sink.url("/"))).await.expect_err("a head without end");
    assert_eq!(error.remedy, Remedy::Wait(None), "{error}");
}

#[tokio::test]
async fn certificates_are_verified() {
    let (sink, pem) = Sink::start_tls().await;
    let dir = tempfile::tempdir().expect("a folder");
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, pem).expect("written");
    let error = send(to(sink.url("/"))).await.expect_err("nobody vouches for it");
    assert!(error.remedy == Remedy::Wait(None) && error.message.contains("TLS"), "{error}");
    let other_name = HttpConfig { ca_file: Some(ca_file.clone()), ..to(format!("https://{}/", sink.address)) };
    let error = send(other_name).await.expect_err("the certificate is for another name");
    assert!(error.message.contains("TLS"), "{error}");
    assert_eq!(sink.asked().len(), 0);
    send(HttpConfig { ca_file: Some(ca_file), ..to(sink.url("/")) }).await.expect("its own authority vouches for it");
    assert_eq!(sink.asked().len(), 1);
}

#[tokio::test]
async fn credentials_are_sent_and_read_anew_from_their_file() {
    let sink = Sink::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("token");
    std::fs::write(&file, "one\n").expect("written");
    let bearer = channel(webhook(HttpConfig {
        credentials: Credentials::Bearer(Secret::File(file.clone())),
        ..to(sink.url("/"))
    }));
    bearer.send(&two()).await.expect("sent");
    std::fs::write(&file, "two\n").expect("written");
    bearer.send(&two()).await.expect("sent");
    std::fs::remove_file(&file).expect("removed");
    let error = bearer.send(&two()).await.expect_err("no token");
    assert!(error.remedy == Remedy::Wait(None) && error.message.contains("token"), "{error}");
    let basic = Credentials::Basic { username: "me".to_owned(), password: Secret::Text("pass".to_owned()) };
    send(HttpConfig { credentials: basic, ..to(sink.url("/")) }).await.expect("sent");
    let sent: Vec<String> = sink.asked().iter().map(|asked| asked.header("authorization").to_owned()).collect();
    assert_eq!(sent, ["Bearer one", "Bearer two", "Basic bWU6cGFzcw=="]);
}

#[tokio::test]
async fn what_a_server_repeats_of_a_secret_is_not_shown() {
    let sink = Sink::start().await;
    let path = "/services/T0000AAAA/B0000BBBB/s3cr3t-hook-part?key=s3cr3t-key-part";
    sink.answer([Answer::status(404)
        .saying(&format!("no hook {path} nor s3cr3t-hook-part for Basic bWU6czNjcjN0LXBhc3M= (me:s3cr3t-pass)"))]);
    let credentials =
        Credentials::Basic { username: "me".to_owned(), password: Secret::Text("s3cr3t-pass".to_owned()) };
    let http = HttpConfig { credentials, ..to(sink.url(path)) };
    assert!(!format!("{http:?}").contains("s3cr3t"));
    let error = send(http).await.expect_err("refused");
    assert!(error.message.contains("no hook [secret] nor [secret] for Basic [secret]"), "{error}");
    assert!(!error.message.contains("s3cr3t") && !error.message.contains("czNjcjN0"), "{error}");
    assert_eq!(sink.asked()[0].path, path);
}
