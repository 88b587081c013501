//! The columns that tables have learned: what the catalog says of them, for whoever writes files. What a file itself has
//! is in its [`crate::FileLayout`].

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;
use orrery_model::{LearnedColumn, Scope, TableName, TenantId};

/// Of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LearnedColumns {
    /// In the order of their field ids. A column stays for as long as its table: files may have it.
    all: Vec<LearnedColumn>,
    /// Field ids of those that new files do not get.
    retired: BTreeSet<i32>,
}

impl LearnedColumns {
    pub(crate) fn new(all: Vec<LearnedColumn>, retired: BTreeSet<i32>) -> Self {
        Self { all, retired }
    }

    pub fn all(&self) -> &[LearnedColumn] {
        &self.all
    }

    pub fn get(&self, scope: Scope, key: &str) -> Option<&LearnedColumn> {
        self.all.iter().find(|column| column.scope == scope && column.key == key)
    }

    /// Whether new files get the column.
    pub fn is_written(&self, column: &LearnedColumn) -> bool {
        !self.retired.contains(&column.field_id)
    }

    /// The columns that new files get where they have values for them.
    pub fn written(&self) -> Vec<LearnedColumn> {
        self.all.iter().filter(|column| self.is_written(column)).cloned().collect()
    }

    pub(crate) fn with(&self, column: LearnedColumn) -> Self {
        let mut with = self.clone();
        with.retired.remove(&column.field_id);
        if !with.all.contains(&column) {
            with.all.push(column);
        }
        with
    }

    pub(crate) fn retire(&self, column: &LearnedColumn) -> Self {
        let mut without = self.clone();
        without.retired.insert(column.field_id);
        without
    }
}

/// Of all tables of a lake. A table that is not there has learned nothing.
#[derive(Clone, Debug, Default)]
pub struct Learned(HashMap<TenantId, [Arc<LearnedColumns>; TableName::COUNT]>);

impl Learned {
    pub fn of(&self, tenant: &TenantId, table: TableName) -> Arc<LearnedColumns> {
        self.0.get(tenant).map(|tables| Arc::clone(&tables[table.index()])).unwrap_or_default()
    }

    /// How many columns there are.
    pub fn count(&self) -> usize {
        self.0.values().flatten().map(|columns| columns.all().len()).sum()
    }

    pub(crate) fn set(&mut self, tenant: &TenantId, table: TableName, columns: Arc<LearnedColumns>) {
        self.0.entry(tenant.clone()).or_default()[table.index()] = columns;
    }
}
