//! How the shop's services talk: an HTTP or gRPC call between two of them, a call to a database, to a company outside, to
//! a queue. Each opens the spans that instrumentation would, with the attributes of the semantic conventions.

use opentelemetry::trace::{SpanContext, SpanKind};
use opentelemetry::{Context, KeyValue};

use super::service::{Op, Outcome, Service};

/// A call from one service to another: the caller's span and the callee's.
pub struct Hop<'a> {
    client: Op<'a>,
    pub server: Op<'a>,
    /// Method and route, for calls over HTTP.
    http: Option<(&'static str, &'static str)>,
    callee: &'a Service,
}

/// A request from outside into the shop.
pub fn entry<'a>(service: &'a Service, method: &'static str, route: &'static str, path: String) -> Op<'a> {
    let attributes = vec![
        KeyValue::new("http.request.method", method),
        KeyValue::new("http.route", route),
        KeyValue::new("url.path", path),
        KeyValue::new("url.scheme", "https"),
        KeyValue::new("server.address", "shop.example.com"),
        KeyValue::new("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"),
    ];
    service.span(&Context::new(), SpanKind::Server, format!("{method} {route}"), attributes)
}

pub fn end_entry(service: &Service, op: Op<'_>, method: &'static str, route: &'static str, outcome: &Outcome) {
    let status = status(outcome);
    op.set("http.response.status_code", status);
    service.served(&op, method, route, status);
    op.end(outcome);
}

pub fn http<'a>(
    parent: &Context,
    caller: &'a Service,
    callee: &'a Service,
    method: &'static str,
    route: &'static str,
) -> Hop<'a> {
    let client = caller.span(
        parent,
        SpanKind::Client,
        method.to_owned(),
        vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("url.full", format!("http://{}:8080{route}", callee.name)),
            KeyValue::new("server.address", callee.name),
            KeyValue::new("server.port", 8080),
        ],
    );
    let server = callee.span(
        &client.context,
        SpanKind::Server,
        format!("{method} {route}"),
        vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", route),
            KeyValue::new("url.scheme", "http"),
            KeyValue::new("server.address", callee.name),
        ],
    );
    Hop { client, server, http: Some((method, route)), callee }
}

pub fn grpc<'a>(
    parent: &Context,
    caller: &'a Service,
    callee: &'a Service,
    service: &'static str,
    method: &'static str,
) -> Hop<'a> {
    let attributes = || {
        vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service),
            KeyValue::new("rpc.method", method),
            KeyValue::new("server.address", callee.name),
        ]
    };
    let name = format!("{service}/{method}");
    let client = caller.span(parent, SpanKind::Client, name.clone(), attributes());
    let server = callee.span(&client.context, SpanKind::Server, name, attributes());
    Hop { client, server, http: None, callee }
}

impl Hop<'_> {
    pub fn context(&self) -> &Context {
        &self.server.context
    }

    pub fn end(self, outcome: &Outcome) {
        match self.http {
            Some((method, route)) => {
                let status = status(outcome);
                self.client.set("http.response.status_code", status);
                self.server.set("http.response.status_code", status);
                self.callee.served(&self.server, method, route, status);
            }
            None => {
                // UNKNOWN where it failed.
                let code = if outcome.is_ok() { 0 } else { 2 };
                self.client.set("rpc.grpc.status_code", code);
                self.server.set("rpc.grpc.status_code", code);
            }
        }
        self.server.end(outcome);
        self.client.end(outcome);
    }
}

/// A query; `system` and `namespace` name the database.
pub fn database<'a>(
    parent: &Context,
    caller: &'a Service,
    (system, namespace): (&'static str, &'static str),
    (operation, collection): (&'static str, &'static str),
) -> Op<'a> {
    let attributes = vec![
        KeyValue::new("db.system.name", system),
        KeyValue::new("db.namespace", namespace),
        KeyValue::new("db.operation.name", operation),
        KeyValue::new("db.collection.name", collection),
        KeyValue::new("server.address", format!("{system}.shop.internal")),
    ];
    caller.span(parent, SpanKind::Client, format!("{operation} {collection}"), attributes)
}

/// A call to a company outside of the shop, which sends no telemetry.
pub fn external<'a>(parent: &Context, caller: &'a Service, host: &'static str, path: &'static str) -> Op<'a> {
    let attributes = vec![
        KeyValue::new("http.request.method", "POST"),
        KeyValue::new("url.full", format!("https://{host}{path}")),
        KeyValue::new("server.address", host),
        KeyValue::new("server.port", 443),
    ];
    caller.span(parent, SpanKind::Client, "POST".to_owned(), attributes)
}

/// Puts a message into a queue.
pub fn publish<'a>(parent: &Context, producer: &'a Service, queue: &'static str) -> Op<'a> {
    producer.span(parent, SpanKind::Producer, format!("send {queue}"), messaging(queue, "send"))
}

/// Takes a message out: a trace of its own, linked to the span that put it in.
pub fn consume<'a>(consumer: &'a Service, queue: &'static str, producer: SpanContext) -> Op<'a> {
    let name = format!("process {queue}");
    consumer.linked(&Context::new(), SpanKind::Consumer, name, messaging(queue, "process"), Some(producer))
}

fn messaging(queue: &'static str, operation: &'static str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.destination.name", queue),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation),
        KeyValue::new("server.address", "kafka.shop.internal"),
    ]
}

fn status(outcome: &Outcome) -> i64 {
    match outcome {
        Ok(()) => 200,
        Err(fault) if fault.kind == "OutOfStock" => 409,
        Err(_) => 502,
    }
}
