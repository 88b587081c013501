//! Giving a key a column: rows of the catalog in one transaction, with a new version of the table's schema and of its view.
//! Files that are written from then on have the column; no file is touched.

use orrery_model::attribute::OLD_DEPLOYMENT_ENVIRONMENT;
use orrery_model::learned::{FIRST_FIELD_ID, MAX_LEARNED, MAX_LEARNED_KEY_BYTES};
use orrery_model::{LearnedColumn, Scope, SnapshotId, TableName, TenantId, ValueType, table};
use sqlx::{Connection, SqliteConnection};

use super::commit::{Change, head};
use super::tables::{column_type, replace_view};
use super::{Catalog, check, database};
use crate::LearnedColumns;
use crate::lake::{LakeError, LearnError};

/// What came of it.
pub(crate) struct Learnt {
    pub(crate) column: LearnedColumn,
    /// The new snapshot and the one that it was made upon; `None` where no snapshot was needed.
    pub(crate) snapshot: Option<(SnapshotId, SnapshotId)>,
}

impl Catalog {
    /// Adds the key's column to a tenant's table, or takes it into use again. Changes nothing where new files have it already.
    pub(crate) async fn learn(
        &mut self,
        tenant: &TenantId,
        name: TableName,
        (scope, key): (Scope, &str),
        value_type: ValueType,
    ) -> Result<Learnt, LakeError> {
        let known = self.known(tenant, name)?;
        let column = wanted(name, &known, (scope, key), value_type)?;
        let is_new = !known.all().contains(&column);
        if !is_new && known.is_written(&column) {
            return Ok(Learnt { column, snapshot: None });
        }
        let fail = database("give a key a column");
        let table_id = self.tenants[tenant].table(name).table_id;
        self.recover().await?;
        self.is_suspect = true;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&fail)?;
        check::own_epoch(&mut transaction, &self.writer, self.epoch).await?;
        sqlx::query("DELETE FROM orrery_retired_column WHERE table_id = $1 AND column_id = $2")
            .bind(table_id)
            .bind(i64::from(column.field_id))
            .execute(&mut *transaction)
            .await
            .map_err(&fail)?;
        let with = known.with(column.clone());
        let mut snapshot = None;
        if is_new {
            let before = head(&mut transaction).await.map_err(&fail)?;
            let mut change = Change::new(before);
            change.alter_schema();
            change.made(format!("altered_table:{table_id}"));
            add_column(&mut transaction, &change, table_id, &column).await.map_err(&fail)?;
            if let Some(signal) = name.signal() {
                replace_view(&mut transaction, &mut change, tenant, signal, with.all()).await.map_err(&fail)?;
            }
            snapshot = Some((SnapshotId(change.snapshot_id), SnapshotId(before.snapshot_id)));
            change.finish(&mut transaction).await.map_err(&fail)?;
        }
        transaction.commit().await.map_err(&fail)?;
        self.is_suspect = false;
        self.set_learned(tenant, name, with);
        Ok(Learnt { column, snapshot })
    }

    /// Takes the key's column out of use: files that are written from then on have the key in the map. The column itself
    /// stays, since files have it.
    pub(crate) async fn retire(
        &mut self,
        tenant: &TenantId,
        name: TableName,
        (scope, key): (Scope, &str),
    ) -> Result<LearnedColumn, LakeError> {
        let known = self.known(tenant, name)?;
        let unknown = || LearnError::Unknown { table: name, key: key.to_owned() };
        let column = known.get(scope, key).ok_or_else(unknown)?.clone();
        let fail = database("take a column out of use");
        let table_id = self.tenants[tenant].table(name).table_id;
        self.recover().await?;
        self.is_suspect = true;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&fail)?;
        check::own_epoch(&mut transaction, &self.writer, self.epoch).await?;
        sqlx::query("INSERT OR IGNORE INTO orrery_retired_column VALUES ($1, $2)")
            .bind(table_id)
            .bind(i64::from(column.field_id))
            .execute(&mut *transaction)
            .await
            .map_err(&fail)?;
        transaction.commit().await.map_err(&fail)?;
        self.is_suspect = false;
        self.set_learned(tenant, name, known.retire(&column));
        Ok(column)
    }

    fn known(&self, tenant: &TenantId, name: TableName) -> Result<LearnedColumns, LearnError> {
        let tables = self.tenants.get(tenant).ok_or_else(|| LearnError::NoTenant(tenant.clone()))?;
        Ok((*tables.learned[name.index()]).clone())
    }

    fn set_learned(&mut self, tenant: &TenantId, name: TableName, learned: LearnedColumns) {
        let tables = self.tenants.get_mut(tenant).expect("its columns were known");
        tables.learned[name.index()] = learned.into();
    }
}

/// The column that a key gets, or has.
fn wanted(
    name: TableName,
    known: &LearnedColumns,
    (scope, key): (Scope, &str),
    value_type: ValueType,
) -> Result<LearnedColumn, LearnError> {
    let described = table(name);
    if !described.has_attributes(scope) {
        return Err(LearnError::NoAttributes(name));
    }
    if key.is_empty() || key.len() > MAX_LEARNED_KEY_BYTES || key.chars().any(char::is_control) {
        return Err(LearnError::Key(key.chars().take(MAX_LEARNED_KEY_BYTES).collect()));
    }
    if !matches!(value_type, ValueType::String | ValueType::Int) {
        return Err(LearnError::Type(value_type.word()));
    }
    if scope == Scope::Resource && key == OLD_DEPLOYMENT_ENVIRONMENT {
        return Err(LearnError::Special(key.to_owned()));
    }
    if let Some((_, promoted)) = described.promoted().find(|(_, p)| p.scope == scope && p.key == key) {
        return Err(LearnError::Promoted { table: name, column: promoted.column_name() });
    }
    if let Some(column) = known.get(scope, key) {
        if column.value_type != value_type {
            let (column, value_type) = (column.column_name(), column.value_type.word());
            return Err(LearnError::OtherType { table: name, column, value_type });
        }
        return Ok(column.clone());
    }
    let field_id = known.all().iter().map(|column| column.field_id + 1).max().unwrap_or(FIRST_FIELD_ID);
    let column = LearnedColumn { field_id, scope, key: key.to_owned(), value_type };
    let lower = column.column_name().to_lowercase();
    let own = described.columns.iter().map(|column| column.name.clone());
    let mut taken = own.chain(known.all().iter().map(LearnedColumn::column_name));
    if let Some(column) = taken.find(|taken| taken.to_lowercase() == lower) {
        return Err(LearnError::Collision { table: name, column });
    }
    if known.all().len() >= MAX_LEARNED {
        return Err(LearnError::Full(name));
    }
    Ok(column)
}

async fn add_column(
    connection: &mut SqliteConnection,
    change: &Change,
    table_id: i64,
    column: &LearnedColumn,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO ducklake_column VALUES ($1, $2, NULL, $3, $1, $4, $5, NULL, 'NULL', 1, NULL, 'literal', 'duckdb')",
    )
    .bind(i64::from(column.field_id))
    .bind(change.snapshot_id)
    .bind(table_id)
    .bind(column.column_name())
    .bind(column_type(&column.data_type()))
    .execute(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO ducklake_column_tag VALUES ($1, $2, $3, NULL, 'comment', $4)")
        .bind(table_id)
        .bind(i64::from(column.field_id))
        .bind(change.snapshot_id)
        .bind(&column.key)
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO ducklake_schema_versions VALUES ($1, $2, $3)")
        .bind(change.snapshot_id)
        .bind(change.schema_version())
        .bind(table_id)
        .execute(connection)
        .await?;
    Ok(())
}
