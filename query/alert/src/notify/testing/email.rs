//! Mail against a server that speaks SMTP: the message, the three ways of protection, logins, and refusals.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::super::Alert;
use super::super::channel::{Channel, open};
use super::super::config::{ChannelConfig, EmailConfig, Grouping, NotifierConfig, SmtpTls};
use super::super::failure::Remedy;
use super::super::queue::Notification;
use super::super::secret::Secret;
use super::sink::acceptor;
use super::{alert, ended, labels, notification};

#[derive(Clone, Copy, Default)]
struct Manners {
    starttls: bool,
    implicit: bool,
    /// Replies instead of the usual ones.
    auth: Option<&'static str>,
    rcpt: Option<&'static str>,
    data: Option<&'static str>,
    greeting: Option<&'static str>,
    silent: bool,
}

/// A mail server that writes down what it is told.
struct Smtp {
    port: u16,
    ca: tempfile::NamedTempFile,
    /// Commands and message lines; `TLS` where the connection became encrypted.
    heard: Arc<Mutex<Vec<String>>>,
}

impl Smtp {
    async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let (tls, pem) = acceptor();
        let ca = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(ca.path(), pem).expect("written");
        let server = Self { port, ca, heard: Arc::clone(&heard) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that hangs up is none of the server's business.
                tokio::spawn(serve(stream, tls.clone(), manners, Arc::clone(&heard)));
            }
        });
        server
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().clone()
    }

    fn config(&self, tls: SmtpTls) -> EmailConfig {
        EmailConfig {
            host: "localhost".to_owned(),
            port: self.port,
            tls,
            credentials: None,
            from: "Orrery <orrery@example.com>".to_owned(),
            to: vec!["ops@example.com".to_owned(), "Zoë <zoe@example.com>".to_owned()],
            ca_file: Some(self.ca.path().to_owned()),
            timeout: Duration::from_secs(10),
        }
    }
}

async fn serve(
    stream: TcpStream,
    tls: TlsAcceptor,
    manners: Manners,
    heard: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    if manners.silent {
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    if manners.implicit {
        let stream = tls.accept(stream).await?;
        heard.lock().push("TLS".to_owned());
        talk(stream, manners, true, &heard).await?;
        return Ok(());
    }
    if let Some(stream) = talk(stream, manners, false, &heard).await? {
        let stream = tls.accept(stream).await?;
        heard.lock().push("TLS".to_owned());
        talk(stream, Manners { greeting: Some(""), ..manners }, true, &heard).await?;
    }
    Ok(())
}

/// Talks until the end, or until the client wants TLS: then the stream comes back.
async fn talk<S>(stream: S, manners: Manners, is_tls: bool, heard: &Mutex<Vec<String>>) -> std::io::Result<Option<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let greeting = manners.greeting.unwrap_or("220 localhost ready\r\n");
    stream.write_all(greeting.as_bytes()).await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_owned();
        heard.lock().push(line.clone());
        let reply = match line.split(' ').next().unwrap_or_default() {
            "EHLO" if manners.starttls && !is_tls => "250-localhost\r\n250 STARTTLS",
            "EHLO" => "250-localhost\r\n250 AUTH PLAIN LOGIN",
            "STARTTLS" => {
                stream.write_all(b"220 go ahead\r\n").await?;
                return Ok(Some(stream.into_inner()));
            }
            "AUTH" => manners.auth.unwrap_or("235 welcome"),
            "RCPT" => manners.rcpt.unwrap_or("250 fine"),
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await?;
                    heard.lock().push(line.trim_end().to_owned());
                    if line == ".\r\n" {
                        break;
                    }
                }
                manners.data.unwrap_or("250 taken")
            }
            "QUIT" => "221 goodbye",
            _ => "250 fine",
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
}

fn channel(config: EmailConfig) -> Arc<dyn Channel> {
    let channel = ChannelConfig::Email(config);
    let config = NotifierConfig { name: "mail".to_owned(), channel, grouping: Grouping::default() };
    open(&config, "https://orrery.example.com").expect("a good configuration")
}

fn two() -> Notification {
    let a = Alert {
        annotations: labels(&[("summary", "<b>zu viele</b> Fehler & mehr"), ("runbook", "https://wiki/errors")]),
        ..alert(&[("alertname", "Errors"), ("service", "cart")])
    };
    let b = ended(&alert(&[("alertname", "Errors"), ("service", "shop")]));
    notification(&["alertname"], &[&a, &b])
}

#[tokio::test]
async fn a_message_has_both_parts_and_goes_to_all() {
    let server = Smtp::start(Manners::default()).await;
    let sent = two();
    channel(server.config(SmtpTls::None)).send(&sent).await.expect("sent");
    let heard = server.heard();
    let position =
        |line: &str| heard.iter().position(|heard| heard == line).unwrap_or_else(|| panic!("{line}: {heard:#?}"));
    let envelope = ["MAIL FROM:<orrery@example.com>", "RCPT TO:<ops@example.com>", "RCPT TO:<zoe@example.com>", "DATA"];
    assert!(envelope.map(position).is_sorted());
    for line in [
        "From: Orrery <orrery@example.com>",
        "Subject: [FIRING:1] Errors",
        "Auto-Submitted: auto-generated",
        "To: ops@example.com, =?utf-8?b?Wm/Dqw==?= <zoe@example.com>",
        "MIME-Version: 1.0",
    ] {
        position(line);
    }
    let text = heard[position("DATA")..].join("\n").replace("=\n", "").replace("=3D", "=");
    for part in [
        "multipart/alternative",
        "Content-Type: text/plain; charset=utf-8",
        "Firing: <b>zu viele</b> Fehler & mehr\n  labels: service=cart\n  runbook: https://wiki/errors\n  since: 2023-11-14 22:13:20 UTC\n  value: 0.25",
        "trace: https://orrery.example.com/trace/0af7651916cd43dd8448eb211c80319c",
        "Resolved: it is broken\n  labels: service=shop\n  from: 2023-11-14 22:13:20 UTC to 2023-11-14 22:14:20 UTC",
        "Content-Type: text/html; charset=utf-8",
        "&lt;b&gt;zu viele&lt;/b&gt; Fehler &amp; mehr",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // The messages of a group are one thread: each has an id of its own and refers to the same one.
    let later = Notification { at_ns: sent.at_ns + 1, ..sent };
    channel(server.config(SmtpTls::None)).send(&later).await.expect("sent");
    let all = |name: &str| server.heard().into_iter().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    let (ids, references) = (all("Message-ID: "), all("References: "));
    assert!(
        ids.len() == 2 && ids[0] != ids[1] && references.len() == 2 && references[0] == references[1],
        "{ids:?} {references:?}"
    );
}

#[tokio::test]
async fn starttls_and_tls_come_before_the_login() {
    for (manners, mode) in [
        (Manners { starttls: true, ..Manners::default() }, SmtpTls::StartTls),
        (Manners { implicit: true, ..Manners::default() }, SmtpTls::Implicit),
    ] {
        let server = Smtp::start(manners).await;
        let credentials = Some(("me".to_owned(), Secret::Text("s3cr3t-pass".to_owned())));
        channel(EmailConfig { credentials, ..server.config(mode) }).send(&two()).await.expect("sent");
        let heard = server.heard();
        let position = |start: &str| heard.iter().position(|line| line.starts_with(start)).expect(start);
        // base64 of NUL me NUL s3cr3t-pass
        assert!(position("TLS") < position("AUTH PLAIN AG1lAHMzY3IzdC1wYXNz"), "{heard:?}");
        assert!(position("AUTH") < position("MAIL"), "{heard:?}");
    }
}

#[tokio::test]
async fn nothing_is_said_where_the_protection_is_missing() {
    let server = Smtp::start(Manners::default()).await;
    let error = channel(server.config(SmtpTls::StartTls)).send(&two()).await.expect_err("it offers no TLS");
    assert!(error.remedy == Remedy::Change && error.message.contains("STARTTLS"), "{error}");
    for mode in [SmtpTls::StartTls, SmtpTls::Implicit] {
        let manners = Manners { starttls: true, implicit: mode == SmtpTls::Implicit, ..Manners::default() };
        let server = Smtp::start(manners).await;
        let error = channel(EmailConfig { ca_file: None, ..server.config(mode) }).send(&two()).await;
        assert!(matches!(error.expect_err("nobody vouches for it").remedy, Remedy::Wait(_)));
        let error = channel(EmailConfig { host: "127.0.0.1".to_owned(), ..server.config(mode) }).send(&two()).await;
        assert!(error.is_err(), "the certificate is for another name");
        assert!(server.heard().iter().all(|line| !line.starts_with("MAIL")), "{:?}", server.heard());
    }
    let error =
        channel(EmailConfig { host: "192.0.2.1".to_owned(), ..server.config(SmtpTls::None) }).send(&two()).await;
    let error = error.expect_err("another machine in plain");
    assert!(error.remedy == Remedy::Change && error.message.contains("TLS only"), "{error}");
}

#[tokio::test]
async fn replies_say_whether_trying_again_helps() {
    let cases = [
        (Manners { rcpt: Some("550 no such user"), ..Manners::default() }, Remedy::Change, "no such user"),
        (Manners { rcpt: Some("450 greylisted"), ..Manners::default() }, Remedy::Wait(None), "greylisted"),
        (Manners { data: Some("452 disk full"), ..Manners::default() }, Remedy::Wait(None), "disk full"),
        (Manners { data: Some("554 spam"), ..Manners::default() }, Remedy::Change, "spam"),
        (Manners { greeting: Some("421 too busy\r\n"), ..Manners::default() }, Remedy::Wait(None), "too busy"),
        (
            Manners { greeting: Some("HTTP/1.1 400 Bad Request\r\n"), ..Manners::default() },
            Remedy::Wait(None),
            "localhost",
        ),
        (Manners { silent: true, ..Manners::default() }, Remedy::Wait(None), "no answer"),
    ];
    for (manners, remedy, part) in cases {
        let server = Smtp::start(manners).await;
        let config = EmailConfig { timeout: Duration::from_millis(700), ..server.config(SmtpTls::None) };
        let error = channel(config).send(&two()).await.expect_err(part);
        assert!(error.remedy == remedy && error.message.contains(part), "{part}: {error:?}");
        assert!(error.message.contains(&format!("localhost:{}", server.port)), "{error}");
    }
    let server = Smtp::start(Manners::default()).await;
    let (config, port) = (server.config(SmtpTls::None), server.port);
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port();
    let error = channel(EmailConfig { port: free, ..config }).send(&two()).await.expect_err("nobody listens");
    assert!(matches!(error.remedy, Remedy::Wait(_)) && free != port, "{error}");
}

#[tokio::test]
async fn a_refused_login_does_not_show_the_password() {
    let manners = Manners {
        auth: Some("535 bad login AG1lAHMzY3IzdC1wYXNz for s3cr3t-pass (czNjcjN0LXBhc3M=)"),
        ..Manners::default()
    };
    let server = Smtp::start(manners).await;
    let credentials = Some(("me".to_owned(), Secret::Text("s3cr3t-pass".to_owned())));
    let config = EmailConfig { credentials, ..server.config(SmtpTls::None) };
    assert!(!format!("{config:?}").contains("s3cr3t"));
    let error = channel(config).send(&two()).await.expect_err("refused");
    assert_eq!(error.remedy, Remedy::Change);
    assert!(error.message.contains("bad login [secret] for [secret] ([secret])"), "{error}");
}

#[tokio::test]
async fn addresses_that_are_none_are_refused_at_the_start() {
    let server = Smtp::start(Manners::default()).await;
    let config = EmailConfig { to: vec!["nobody".to_owned()], ..server.config(SmtpTls::None) };
    let config =
        NotifierConfig { name: "mail".into(), channel: ChannelConfig::Email(config), grouping: Grouping::default() };
    let error = open(&config, "").err().expect("no address");
    assert!(error.contains("\"nobody\" is no mail address"), "{error}");
}
