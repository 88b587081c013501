//! Who may do what: tokens and their roles on every port, TLS from files, the dashboard's headers, and the Host and
//! Origin checks that keep other web pages out.

use std::process::Stdio;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use crate::server::{Folder, Server, agent, one_span, orrery, read};

/// What `orrery config hash-token` prints.
fn hash(token: &str) -> String {
    use std::io::Write;
    let mut child = orrery()
        .args(["config", "hash-token"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.stdin.take().expect("stdin is piped").write_all(token.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn with_tokens(folder: &Folder) -> Server {
    let mut text = String::new();
    for (token, role, tenant) in
        [("send", "ingest", "main"), ("look", "read", "main"), ("all", "admin", "main"), ("other", "read", "other")]
    {
        text += &format!(
            "[[tokens]]\nname = \"{token}\"\nsha256 = \"{}\"\nrole = \"{role}\"\ntenant = \"{tenant}\"\n",
            hash(token)
        );
    }
    let file = folder.write("orrery.toml", &text);
    Server::start(folder, &["--config", file.to_str().expect("text")])
}

#[test]
fn a_token_opens_the_doors_of_its_role() {
    let folder = Folder::new();
    let mut server = with_tokens(&folder);
    let span = one_span("cart", "add", &"a".repeat(32), &"1".repeat(16)).to_string();
    let cases = [
        // token, export, query, metrics, flush
        (None, [401, 401, 401, 401]),
        (Some("wrong"), [401, 401, 401, 401]),
        (Some("send"), [200, 403, 403, 403]),
        (Some("look"), [403, 200, 200, 403]),
        (Some("all"), [200, 200, 200, 200]),
    ];
    for (token, expected) in cases {
        server.token = token.map(str::to_owned);
        let query = br#"{"query": "select count(*) from spans", "format": "csv"}"#;
        let got = [
            server.export("traces", "application/json", span.as_bytes()).0,
            server.post(&format!("{}/api/v1/sql", server.http), "application/json", query).0,
            server.get("/metrics").0,
            server.post(&format!("{}/api/v1/lake/flush", server.http), "application/json", b"").0,
        ];
        assert_eq!(got, expected, "{token:?}");
    }
    server.token = None;
    assert_eq!(server.get("/-/ready").0, 200, "a probe has no token");
    assert_eq!(server.get("/").0, 200, "the page itself holds no data");
    server.token = Some("look".to_owned());
    assert_eq!(server.count("select count(*) from spans"), 1);
    server.token = Some("other".to_owned());
    assert_eq!(server.count("select count(*) from spans"), 0, "another tenant's rows are not there");
}

#[test]
fn a_refusal_is_in_the_words_of_its_protocol() {
    let folder = Folder::new();
    let server = with_tokens(&folder);
    let post = |content_type: &str| {
        agent().post(format!("{}/v1/traces", server.otlp_http)).header("content-type", content_type).send(&[][..])
    };
    let json = post("application/json").expect("an answer");
    assert_eq!(json.status(), 401);
    assert_eq!(json.headers()["content-type"], "application/json");
    assert!(
        json.headers().contains_key("www-authenticate") && json.headers().contains_key("access-control-allow-origin")
    );
    let status: serde_json::Value = serde_json::from_str(&read(json).1).expect("a google.rpc.Status");
    assert_eq!(status["code"], 16);
    let protobuf = post("application/x-protobuf").expect("an answer");
    assert_eq!(protobuf.headers()["content-type"], "application/x-protobuf");
    let api = server.get("/api/v1/services");
    assert!(api.0 == 401 && api.1.contains("\"code\":\"unauthorized\""), "{api:?}");

    let preflight =
        agent().options(format!("{}/v1/traces", server.otlp_http)).header("origin", "http://shop.example.com");
    assert_eq!(preflight.call().expect("an answer").status(), 204, "a preflight has no token");
}

#[tokio::test]
async fn grpc_carries_the_token_in_its_metadata() {
    let folder = Folder::new();
    let server = with_tokens(&folder);
    let channel = Channel::from_shared(server.otlp_grpc.clone()).expect("a URL").connect().await.expect("connected");
    for (token, code) in [
        (None, tonic::Code::Unauthenticated),
        (Some("wrong"), tonic::Code::Unauthenticated),
        (Some("look"), tonic::Code::PermissionDenied),
        (Some("send"), tonic::Code::Ok),
    ] {
        let mut request = tonic::Request::new(ExportTraceServiceRequest::default());
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
        }
        let answer = TraceServiceClient::new(channel.clone()).export(request).await;
        assert_eq!(answer.map_or_else(|status| status.code(), |_| tonic::Code::Ok), code, "{token:?}");
    }
}

#[tokio::test]
async fn tls_is_on_every_port() {
    let folder = Folder::new();
    let issued =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("issued");
    let (cert, key) =
        (folder.write("cert.pem", &issued.cert.pem()), folder.write("key.pem", &issued.signing_key.serialize_pem()));
    let text = format!("[tls]\ncert = {cert:?}\nkey = {key:?}\n");
    let file = folder.write("orrery.toml", &text);
    let server = Server::start(&folder, &["--config", file.to_str().expect("text")]);
    assert!(server.http.starts_with("https://") && server.otlp_grpc.starts_with("https://"));

    let sql = |trusted: bool| {
        let mut command = orrery();
        command.args(["sql", "select count(*) as n from spans", "--format", "csv", "--endpoint", &server.http]);
        if trusted {
            command.arg("--ca-file").arg(&cert);
        }
        command.output().expect("the binary runs")
    };
    assert_eq!(String::from_utf8_lossy(&sql(true).stdout).replace('\r', ""), "n\n0\n");
    assert!(!sql(false).status.success(), "an unknown certificate is not trusted");

    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(issued.cert.pem())).domain_name("localhost");
    let endpoint = Channel::from_shared(server.otlp_grpc.clone()).expect("a URL").tls_config(tls).expect("TLS");
    let channel = endpoint.connect().await.expect("HTTP/2 by ALPN");
    TraceServiceClient::new(channel).export(ExportTraceServiceRequest::default()).await.expect("taken");

    let file = folder.write("bad.toml", &format!("[tls]\ncert = {key:?}\nkey = {key:?}\n"));
    let said = Server::try_start(&folder, &mut orrery(), &["--config", file.to_str().expect("text")]);
    let said = said.err().expect("a key is no certificate");
    assert!(said.contains("key.pem") && said.contains("no PEM certificate"), "{said}");
}

#[test]
fn the_dashboards_port_is_closed_to_other_pages() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--set", "allowed_hosts=orrery.example.com"]);
    let port = server.http.rsplit(':').next().expect("a port").to_owned();
    let own = format!("127.0.0.1:{port}");
    let cases = [
        (own.clone(), None, 200),
        (format!("localhost:{port}"), None, 200),
        ("orrery.example.com".to_owned(), None, 200),
        ("evil.example.com".to_owned(), None, 403),
        (own.clone(), Some(format!("http://{own}")), 200),
        (own.clone(), Some("http://evil.example.com".to_owned()), 403),
        (own.clone(), Some("null".to_owned()), 403),
    ];
    for path in ["/", "/-/healthy", "/metrics"] {
        for (host, origin, expected) in &cases {
            let mut request = agent().get(format!("{}{path}", server.http)).header("host", host);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let response = request.call().expect("an answer");
            assert_eq!(response.status().as_u16(), *expected, "{path} as {host} from {origin:?}");
            let headers = response.headers();
            assert!(!headers.contains_key("access-control-allow-origin"), "{path}: no CORS on this port");
            let policy = headers["content-security-policy"].to_str().expect("text");
            for part in ["default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "frame-ancestors 'none'"] {
                assert!(policy.contains(part), "{part} is not in {policy}");
            }
            assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"), "{policy}");
            assert_eq!(headers["x-content-type-options"], "nosniff");
        }
    }
    // The OTLP port is for pages of any origin.
    let export = agent()
        .post(format!("{}/v1/traces", server.otlp_http))
        .header("origin", "http://shop.example.com")
        .header("content-type", "application/json")
        .send("{}")
        .expect("an answer");
    assert_eq!(export.status(), 200);
    assert_eq!(export.headers()["access-control-allow-origin"], "http://shop.example.com");
}
