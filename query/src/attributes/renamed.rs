//! Older and newer names of one attribute, from the migration notes of OpenTelemetry's semantic conventions. Data only.

use orrery_model::{PROMOTED, Scope};

/// Names of one meaning, the current one first.
const RENAMED: &[&[&str]] = &[
    &["http.request.method", "http.method"],
    &["http.response.status_code", "http.status_code"],
    &["url.full", "http.url"],
    &["url.path", "http.target"],
    &["url.scheme", "http.scheme"],
    &["client.address", "http.client_ip"],
    &["user_agent.original", "http.user_agent"],
    &["http.request.body.size", "http.request_content_length"],
    &["http.response.body.size", "http.response_content_length"],
    &["server.address", "net.peer.name", "net.host.name", "http.host"],
    &["server.port", "net.peer.port", "net.host.port"],
    &["network.peer.address", "net.sock.peer.addr", "net.peer.ip"],
    &["network.peer.port", "net.sock.peer.port"],
    &["network.protocol.name", "net.app.protocol.name"],
    &["network.protocol.version", "net.app.protocol.version", "http.flavor"],
    &["db.system.name", "db.system"],
    &["db.namespace", "db.name", "db.redis.database_index"],
    &["db.operation.name", "db.operation"],
    &["db.collection.name", "db.sql.table", "db.mongodb.collection", "db.cassandra.table"],
    &["db.query.text", "db.statement"],
    &["messaging.destination.name", "messaging.destination"],
    &["messaging.operation.type", "messaging.operation"],
    &["messaging.message.id", "messaging.message_id"],
    &["rpc.response.status_code", "rpc.grpc.status_code"],
    &["code.function.name", "code.function"],
    &["code.file.path", "code.filepath"],
    &["code.line.number", "code.lineno"],
    &["deployment.environment.name", "deployment.environment"],
    &["gen_ai.provider.name", "gen_ai.system"],
];

/// The names to look under, the asked one first, then the others of its meaning, newest first.
pub(super) fn names(key: &str) -> Vec<&str> {
    let group = RENAMED.iter().find(|group| group.contains(&key)).copied().unwrap_or_default();
    std::iter::once(key).chain(group.iter().copied().filter(|&name| name != key)).collect()
}

/// Where `attribute('k')` looks: among the resource's attributes for the keys that describe one, else among the item's.
pub(super) fn scope(key: &str) -> Scope {
    const RESOURCE: &[&str] = &[
        "service.",
        "telemetry.",
        "deployment.",
        "k8s.",
        "host.",
        "container.",
        "process.",
        "cloud.",
        "os.",
        "device.",
        "faas.instance",
    ];
    let promoted = PROMOTED.iter().find(|p| p.key == key).map(|p| p.scope);
    let by_prefix = if RESOURCE.iter().any(|prefix| key.starts_with(prefix)) { Scope::Resource } else { Scope::Item };
    promoted.unwrap_or(by_prefix)
}
