//! Reading the catalog: the tables of the tenants, checked against the model, and the live data files. Never changes it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::DataType;
use chrono::NaiveDateTime;
use futures::TryStreamExt;
use orrery_model::learned::FIRST_FIELD_ID;
use orrery_model::{LearnedColumn, SnapshotId, TableName, TenantId, table};
use sqlx::{Connection, Row};

use super::check::{FileFacts, Total, damaged};
use super::commit::head;
use super::tables::{TIMESTAMP_FORMAT, TableIds, TenantTables, catalog_columns, field_id};
use super::{Catalog, database};
use crate::lake::{LakeError, LakeView};
use crate::parquet::FileName;
use crate::{DataFile, FileFilter, FileLayout, Learned, LearnedColumns};

impl Catalog {
    /// Reads every tenant with its tables' ids.
    pub(crate) async fn reload_tenants(&mut self) -> Result<(), LakeError> {
        self.tenants = self.load_tenants().await?;
        Ok(())
    }

    async fn load_tenants(&mut self) -> Result<HashMap<TenantId, TenantTables>, LakeError> {
        let fail = database("read the tables");
        let rows = sqlx::query(
            "SELECT s.schema_name, t.table_name, t.table_id, p.partition_id FROM ducklake_table t
             JOIN ducklake_schema s ON s.schema_id = t.schema_id AND s.end_snapshot IS NULL
             JOIN ducklake_partition_info p ON p.table_id = t.table_id AND p.end_snapshot IS NULL
             WHERE t.end_snapshot IS NULL",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(&fail)?;
        let mut tenants: HashMap<TenantId, TenantTables> = HashMap::new();
        let mut found = HashMap::new();
        for row in rows {
            let (tenant, name): (String, String) = (row.try_get(0).map_err(&fail)?, row.try_get(1).map_err(&fail)?);
            let Some(table) = TableName::from_name(&name) else { continue };
            let Ok(tenant) = TenantId::new(&tenant) else { continue };
            let ids =
                TableIds { table_id: row.try_get(2).map_err(&fail)?, partition_id: row.try_get(3).map_err(&fail)? };
            let learned = self.check_columns(&tenant, table, ids.table_id).await?;
            *found.entry(tenant.clone()).or_insert(0) += 1;
            let of_tenant = tenants.entry(tenant).or_default();
            of_tenant.tables[table.index()] = ids;
            of_tenant.learned[table.index()] = Arc::new(learned);
        }
        match found.into_iter().find(|(_, tables)| *tables != TableName::COUNT) {
            Some((tenant, _)) => Err(LakeError::Corrupt(format!("tenant {tenant} does not have all its tables"))),
            None => Ok(tenants),
        }
    }

    /// Refuses a table whose columns are not those that this Orrery writes and behind them some that it has learned, which
    /// it gives.
    async fn check_columns(
        &mut self,
        tenant: &TenantId,
        name: TableName,
        table_id: i64,
    ) -> Result<LearnedColumns, LakeError> {
        let fail = database("read the columns");
        let rows = sqlx::query(
            "SELECT column_id, column_name, column_type, nulls_allowed,
             EXISTS (SELECT 1 FROM orrery_retired_column r WHERE r.table_id = $1 AND r.column_id = c.column_id)
             FROM ducklake_column c WHERE table_id = $1 AND end_snapshot IS NULL ORDER BY column_id",
        )
        .bind(table_id)
        .fetch_all(&mut self.connection)
        .await
        .map_err(&fail)?;
        let expected = catalog_columns(table(name));
        let mismatch =
            |column: &str| LakeError::SchemaMismatch { table: format!("{tenant}.{name}"), column: column.to_owned() };
        for (index, column) in expected.iter().enumerate() {
            let row = rows.get(index).ok_or_else(|| mismatch(&column.name))?;
            let found: (i64, String, String, i64) = (
                row.try_get(0).map_err(&fail)?,
                row.try_get(1).map_err(&fail)?,
                row.try_get(2).map_err(&fail)?,
                row.try_get(3).map_err(&fail)?,
            );
            let same = found.0 == column.id
                && found.1 == column.name
                && found.2 == column.column_type
                && (found.3 != 0) == column.nulls_allowed;
            if !same {
                return Err(mismatch(&column.name));
            }
        }
        let (mut learned, mut retired) = (Vec::new(), BTreeSet::new());
        for row in &rows[expected.len()..] {
            let (id, column, is_retired): (i64, String, bool) =
                (row.try_get(0).map_err(&fail)?, row.try_get(1).map_err(&fail)?, row.try_get(4).map_err(&fail)?);
            let data_type = match row.try_get::<&str, _>(2).map_err(&fail)? {
                "varchar" => DataType::Utf8,
                "int64" => DataType::Int64,
                _ => return Err(mismatch(&column)),
            };
            let id = i32::try_from(id).ok().filter(|id| *id >= FIRST_FIELD_ID);
            let known = id.and_then(|id| LearnedColumn::of_column(id, &column, &data_type));
            let known = known.ok_or_else(|| mismatch(&column))?;
            if is_retired {
                retired.insert(known.field_id);
            }
            learned.push(known);
        }
        Ok(LearnedColumns::new(learned, retired))
    }

    /// What the tables have learned.
    pub(crate) fn learned(&self) -> Arc<Learned> {
        let mut learned = Learned::default();
        for (tenant, tables) in &self.tenants {
            for table in TableName::ALL {
                learned.set(tenant, table, Arc::clone(&tables.learned[table.index()]));
            }
        }
        Arc::new(learned)
    }

    /// All live data files with what rules them out, at the newest snapshot.
    pub(crate) async fn load_view(&mut self, data_path: &Path) -> Result<LakeView, LakeError> {
        self.recover().await?;
        let fail = database("read the data files");
        // One moment of the catalog: what another writer commits meanwhile is not in half of it.
        let mut transaction = self.connection.begin().await.map_err(&fail)?;
        let id = SnapshotId(head(&mut transaction).await.map_err(&fail)?.snapshot_id);
        let mut total = Total::default();
        let mut tables = HashMap::with_capacity(self.tenants.len());
        for (tenant, ids) in self.tenants.clone() {
            let mut of_tenant: [Arc<Vec<Arc<DataFile>>>; TableName::COUNT] = Default::default();
            for table in TableName::ALL {
                let mut rows = sqlx::query(FileFacts::SELECT)
                    .bind(ids.table(table).table_id)
                    .bind(timestamp_id(table))
                    .fetch(&mut *transaction);
                let folder = data_path.join(tenant.as_str()).join(table.as_str());
                let mut files = Vec::new();
                let mut layouts = HashMap::new();
                // One by one: the filters are checked, and not kept.
                while let Some(row) = rows.try_next().await.map_err(&fail)? {
                    let (facts, check) = FileFacts::read(&row).map_err(database("read a data file"))?;
                    let found = facts.check(tenant.as_str(), table);
                    if check != Some(found) {
                        let FileFacts { id, path, .. } = facts;
                        return Err(damaged(format!(
                            "what it says of data file {id}, {tenant}/{table}/{path}, has changed"
                        )));
                    }
                    total.add(found);
                    files.push(Arc::new(data_file(facts, &folder, &ids.learned[table.index()], &mut layouts)?));
                }
                drop(rows);
                of_tenant[table.index()] = Arc::new(files);
            }
            tables.insert(tenant, of_tenant);
        }
        let committed = Total::committed(&mut transaction).await.map_err(&fail)?;
        if committed != total {
            return Err(damaged(format!(
                "of {} data files that were committed it has {}",
                committed.files, total.files
            )));
        }
        transaction.rollback().await.map_err(&fail)?;
        Ok(LakeView { id, tables, learned: self.learned() })
    }

    /// The paths of all files that any snapshot still names or that are to be deleted, relative to the data folder.
    pub(crate) async fn referenced_paths(&mut self) -> Result<HashSet<String>, LakeError> {
        let fail = database("read the files' names");
        self.recover().await?;
        let rows = sqlx::query(
            "SELECT s.path || t.path || f.path FROM ducklake_data_file f
             JOIN ducklake_table t ON t.table_id = f.table_id JOIN ducklake_schema s ON s.schema_id = t.schema_id
             UNION ALL SELECT path FROM ducklake_files_scheduled_for_deletion WHERE path_is_relative",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(&fail)?;
        rows.iter().map(|row| row.try_get(0).map_err(&fail)).collect()
    }
}

pub(super) fn timestamp_id(name: TableName) -> i64 {
    let table = table(name);
    field_id(table.schema.field(table.index_of("timestamp")))
}

/// Files alike share one layout.
fn data_file(
    facts: FileFacts,
    folder: &Path,
    learned: &LearnedColumns,
    layouts: &mut HashMap<String, Arc<FileLayout>>,
) -> Result<DataFile, LakeError> {
    let id = facts.id;
    let time = |text: Option<&String>| -> Result<i64, LakeError> {
        text.and_then(|text| NaiveDateTime::parse_from_str(text, TIMESTAMP_FORMAT).ok())
            .and_then(|time| time.and_utc().timestamp_nanos_opt())
            .ok_or_else(|| LakeError::Corrupt(format!("data file {id} has no range of timestamps")))
    };
    let layout = match facts.layout {
        None => None,
        Some(text) => match layouts.get(&text) {
            Some(layout) => Some(Arc::clone(layout)),
            None => {
                let layout = FileLayout::from_text(&text)
                    .ok_or_else(|| LakeError::Corrupt(format!("data file {id} has the layout {text}")))?;
                if let Some(column) = layout.learned.iter().find(|column| !learned.all().contains(column)) {
                    let name = column.column_name();
                    return Err(damaged(format!("column {name} of data file {id} is none of its table's")));
                }
                Some(Arc::clone(layouts.entry(text).or_insert_with(|| Arc::new(layout))))
            }
        },
    };
    Ok(DataFile {
        id,
        merged_from: FileName::of_path(&facts.path).and_then(|name| name.merged_from()),
        path: folder.join(facts.path),
        size_bytes: facts.size_bytes.cast_unsigned(),
        footer_bytes: facts.footer_bytes.cast_unsigned(),
        rows: facts.rows.cast_unsigned(),
        min_timestamp_ns: time(facts.min_timestamp.as_ref())?,
        max_timestamp_ns: time(facts.max_timestamp.as_ref())?,
        trace_filter: facts.filter.map(|bytes| FileFilter::stored(&bytes)),
        checksums: facts.checksums,
        layout,
    })
}
