//! Newtypes for the identifiers that cross functions.

use std::sync::Arc;

/// A tenant: a schema of the catalog. `main` is the default one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// At most 64 characters of `[a-z0-9_]`, so that the name is a path and an SQL identifier as it stands.
    pub fn new(name: &str) -> Result<Self, InvalidTenant> {
        let valid = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if valid { Ok(Self(name.into())) } else { Err(InvalidTenant(name.chars().take(80).collect())) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self("main".into())
    }
}

impl std::fmt::Display for TenantId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("tenant name {0:?} is not 1 to 64 characters of a-z, 0-9 and _")]
pub struct InvalidTenant(String);

/// A DuckLake snapshot: the version of the catalog a query is pinned to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotId(pub i64);

/// What a request's credential allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Send telemetry.
    Ingest,
    /// Query and look.
    Read,
    /// Both, and what changes the lake.
    Admin,
}

/// Who a request comes from. The server puts it into the request's extensions before any handler runs; the tenant never
/// comes from a header alone. Without authentication everyone is the admin of `main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub tenant: TenantId,
    pub role: Role,
}

impl Default for Identity {
    fn default() -> Self {
        Self { tenant: TenantId::default(), role: Role::Admin }
    }
}
