//! `GET /api/v1/services` and `GET /api/v1/services/{name}`.

use serde::{Deserialize, Serialize};

use crate::Receipt;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Services {
    pub services: Vec<Service>,
    pub receipt: Receipt,
}

/// A service over the window. Calls are its SERVER and CONSUMER spans; of a service without any, its spans whose parent
/// is in another service or absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// `name`, or `namespace/name` where a namespace was sent.
    pub id: String,
    pub name: String,
    pub namespace: Option<String>,
    pub environments: Vec<String>,
    pub versions: Vec<String>,
    pub language: Option<String>,
    pub instances: u64,
    pub spans: u64,
    pub calls: u64,
    pub errors: u64,
    pub sum_ns: i64,
    pub p50_ns: i64,
    pub p95_ns: i64,
    pub p99_ns: i64,
    /// Calls and errors in equal steps over the window, oldest first, for sparklines.
    pub calls_over_time: Vec<u64>,
    pub errors_over_time: Vec<u64>,
    pub first_seen: String,
    pub last_seen: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceDetail {
    pub service: Service,
    /// Most calls first.
    pub operations: Vec<Operation>,
    pub resource_attributes: Vec<crate::Attribute>,
    /// The width of a step of `calls_over_time`, `errors_over_time` and `p95_over_time`.
    pub step_ns: i64,
    pub p50_over_time: Vec<Option<i64>>,
    pub p95_over_time: Vec<Option<i64>>,
    pub receipt: Receipt,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    pub name: String,
    pub kind: String,
    pub calls: u64,
    pub errors: u64,
    pub p50_ns: i64,
    pub p95_ns: i64,
    pub p99_ns: i64,
}
