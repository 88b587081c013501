//! Attributes: the three scopes they come in, the types their values have, and the keys that have a column of their
//! own. Never decides what a query means by a key; that is the query crate's.

use arrow::datatypes::DataType;

use crate::Signal;

/// Where an attribute was set. The scopes are never merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    Resource,
    Scope,
    /// The span, log record or data point itself.
    Item,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Resource, Self::Scope, Self::Item];

    /// As the API and the command line name it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Scope => "scope",
            Self::Item => "item",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.word() == word)
    }

    /// The map as SQL names it, whole: `attributes['k']`. No file holds it.
    pub const fn map_name(self) -> &'static str {
        match self {
            Self::Resource => "resource_attributes",
            Self::Scope => "scope_attributes",
            Self::Item => "attributes",
        }
    }

    /// The stored map of the keys (or of values of another type) that have no column.
    pub const fn other_name(self) -> &'static str {
        match self {
            Self::Resource => "other_resource_attributes",
            Self::Scope => "other_scope_attributes",
            Self::Item => "other_attributes",
        }
    }

    /// The stored map from key to [`ValueType`] word, for the values of the `other` map that are no strings.
    pub const fn types_name(self) -> &'static str {
        match self {
            Self::Resource => "other_resource_attribute_types",
            Self::Scope => "other_scope_attribute_types",
            Self::Item => "other_attribute_types",
        }
    }
}

/// The type an OTLP `AnyValue` had, as stored in the type maps. A value without an entry there is a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValueType {
    String,
    Bool,
    Int,
    Double,
    Bytes,
    Array,
    Kvlist,
    /// An `AnyValue` with nothing set: the map's value is NULL.
    Empty,
}

impl ValueType {
    pub const ALL: [Self; 8] =
        [Self::String, Self::Bool, Self::Int, Self::Double, Self::Bytes, Self::Array, Self::Kvlist, Self::Empty];

    pub const fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::Array => "array",
            Self::Kvlist => "kvlist",
            Self::Empty => "empty",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.word() == word)
    }
}

/// An attribute key with a column of its own. A value of another type than the column's stays in the `other` map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promoted {
    pub scope: Scope,
    pub key: &'static str,
    /// [`ValueType::String`] or [`ValueType::Int`].
    pub value_type: ValueType,
    /// The column, `None` for the ordinary name (`attributes.` and the key).
    column: Option<&'static str>,
    /// Whether the column is in (spans, logs, metrics).
    signals: [bool; 3],
}

impl Promoted {
    pub fn column_name(&self) -> String {
        self.column.map_or_else(|| format!("{}.{}", self.scope.map_name(), self.key), str::to_owned)
    }

    /// Whether the column carries a name of its own (`service_name`) and so stands among the table's base columns.
    pub const fn is_base_column(&self) -> bool {
        self.column.is_some()
    }

    pub fn is_in(&self, signal: Signal) -> bool {
        self.signals[signal as usize - 1]
    }

    pub fn data_type(&self) -> DataType {
        if self.value_type == ValueType::Int { DataType::Int64 } else { DataType::Utf8 }
    }
}

const ALL: [bool; 3] = [true, true, true];
const SPANS: [bool; 3] = [true, false, false];
const SPANS_LOGS: [bool; 3] = [true, true, false];
const SPANS_METRICS: [bool; 3] = [true, false, true];

const fn base(key: &'static str, column: &'static str) -> Promoted {
    Promoted { scope: Scope::Resource, key, value_type: ValueType::String, column: Some(column), signals: ALL }
}
const fn resource(key: &'static str) -> Promoted {
    Promoted { scope: Scope::Resource, key, value_type: ValueType::String, column: None, signals: ALL }
}
const fn text(key: &'static str, signals: [bool; 3]) -> Promoted {
    Promoted { scope: Scope::Item, key, value_type: ValueType::String, column: None, signals }
}
const fn int(key: &'static str, signals: [bool; 3]) -> Promoted {
    Promoted { scope: Scope::Item, key, value_type: ValueType::Int, column: None, signals }
}

/// The value of the `service_name` column where no `service.name` was sent (or an empty one, or no string). Wherever
/// the column holds this word, `other_resource_attributes['service.name']` says what was really sent.
pub const UNKNOWN_SERVICE: &str = "unknown_service";

/// The older name of `deployment.environment.name`. It fills the `deployment_environment` column where the newer key is
/// absent, and always stays in the `other` map; where both are sent with one value, both are in the map.
pub const OLD_DEPLOYMENT_ENVIRONMENT: &str = "deployment.environment";

/// Every promoted key: the ones that people filter on, their older names, and those the service columns come from. The
/// order is the order of the columns.
pub const PROMOTED: &[Promoted] = &[
    base("service.name", "service_name"),
    base("service.namespace", "service_namespace"),
    base("service.version", "service_version"),
    base("service.instance.id", "service_instance_id"),
    base("deployment.environment.name", "deployment_environment"),
    resource("k8s.cluster.name"),
    resource("k8s.namespace.name"),
    resource("k8s.deployment.name"),
    resource("k8s.pod.name"),
    resource("k8s.container.name"),
    resource("k8s.node.name"),
    resource("host.name"),
    resource("telemetry.sdk.language"),
    text("http.request.method", SPANS_METRICS),
    int("http.response.status_code", SPANS_METRICS),
    text("http.route", SPANS_METRICS),
    text("url.path", SPANS),
    text("url.full", SPANS),
    text("server.address", SPANS_METRICS),
    text("client.address", SPANS),
    text("network.peer.address", SPANS),
    text("peer.service", SPANS),
    text("error.type", SPANS_METRICS),
    text("exception.type", SPANS_LOGS),
    text("rpc.system", SPANS_METRICS),
    text("rpc.service", SPANS_METRICS),
    text("rpc.method", SPANS_METRICS),
    int("rpc.grpc.status_code", SPANS),
    text("db.system.name", SPANS_METRICS),
    text("db.namespace", SPANS_METRICS),
    text("db.operation.name", SPANS_METRICS),
    text("db.collection.name", SPANS),
    text("db.query.text", SPANS),
    text("messaging.system", SPANS_METRICS),
    text("messaging.destination.name", SPANS_METRICS),
    text("messaging.operation.type", SPANS),
    text("http.method", SPANS),
    int("http.status_code", SPANS),
    text("http.target", SPANS),
    text("http.url", SPANS),
    text("net.peer.name", SPANS),
    text("db.system", SPANS),
    text("db.name", SPANS),
    text("db.operation", SPANS),
    text("db.statement", SPANS),
    text("messaging.destination", SPANS),
    text("messaging.operation", SPANS),
    text("log.iostream", [false, true, false]),
];
