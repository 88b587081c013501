//! Learning by itself: which keys are dense in the newest files of a table, by a sample of their rows, and columns for
//! those. Reads maps only, beside ingest; never learns a key again that an operator has taken out of use.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, MapArray, RecordBatch};
use hashbrown::HashMap;
use orrery_model::{LearnedColumn, Scope, TableName, TenantId, ValueType};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use parquet::errors::ParquetError;

use crate::lake::{Lake, LakeError};
use crate::{DataFile, LearnedColumns, VerifiedFile};

/// Files of a table that are sampled, the newest ones.
const SAMPLED_FILES: usize = 4;
/// Rows of a file that are sampled, about; in runs, since neighbours are alike.
const SAMPLED_ROWS: usize = 16_384;
const RUN_ROWS: usize = 64;
/// Keys that are counted at most.
const MAX_KEYS: usize = 10_000;

/// When keys get columns without being asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnConfig {
    /// Whether they do.
    pub enabled: bool,
    /// How often the newest files are looked at.
    pub every: Duration,
    /// The share of the rows that must have the key, with values of one type, from 0 to 1. Below about a tenth a column of
    /// a key takes more room than the map.
    pub share: f64,
    /// With fewer rows in the newest files of a table nothing is learned.
    pub least_rows: u64,
    /// Columns of a table that are learned at most; the others, up to the limit of a table, are for operators.
    pub max_columns: usize,
}

impl Default for LearnConfig {
    fn default() -> Self {
        Self { enabled: true, every: Duration::from_secs(600), share: 0.3, least_rows: 20_000, max_columns: 100 }
    }
}

/// A column that was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedKey {
    pub tenant: TenantId,
    pub table: TableName,
    pub column: LearnedColumn,
}

impl Lake {
    /// Looks at the newest files of every table once, and gives the keys that are dense in them columns.
    pub async fn learn_dense(&self, config: &LearnConfig) -> Result<Vec<LearnedKey>, LakeError> {
        let view = self.view();
        let mut done = Vec::new();
        let tenants: Vec<TenantId> = view.tables.keys().cloned().collect();
        for tenant in tenants {
            for table in TableName::ALL.into_iter().filter(|table| table.signal().is_some()) {
                let known = view.learned.of(&tenant, table);
                let files = view.files(&tenant, table);
                let newest: Vec<_> =
                    files.iter().rev().take(SAMPLED_FILES).filter(|f| has_map_keys(f)).cloned().collect();
                let rows: u64 = files.iter().rev().take(SAMPLED_FILES).map(|file| file.rows).sum();
                let room = config.max_columns.saturating_sub(known.all().len());
                if newest.is_empty() || rows < config.least_rows || room == 0 {
                    continue;
                }
                let sampled = tokio::task::spawn_blocking(move || counted(&newest)).await;
                let counts = sampled.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
                for (scope, key, value_type) in dense(&counts, rows, config.share, &known).into_iter().take(room) {
                    match self.learn(&tenant, table, scope, &key, value_type).await {
                        Ok(column) => {
                            tracing::info!(
                                lake.tenant = %tenant,
                                lake.table = %table,
                                lake.column = column.column_name(),
                                "learned a key that is dense in the newest files"
                            );
                            done.push(LearnedKey { tenant: tenant.clone(), table, column });
                        }
                        // Of keys that differ only in case one has a column.
                        Err(LakeError::Learn(error)) => tracing::debug!(%error, "a dense key stays in the map"),
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(done)
    }
}

fn has_map_keys(file: &DataFile) -> bool {
    file.layout
        .as_ref()
        .is_none_or(|layout| layout.map_keys.iter().any(|keys| keys.as_ref().is_none_or(|k| !k.is_empty())))
}

/// Rows of the files, as many as the sample stands for, that have a key with a string and with an integer.
type Counts = HashMap<(Scope, String), [f64; 2]>;

fn counted(files: &[Arc<DataFile>]) -> Result<Counts, LakeError> {
    let mut counts = Counts::new();
    for file in files {
        let fail = |source| LakeError::Unreadable { path: file.path.clone(), source };
        let opened = VerifiedFile::open(file).map_err(|error| fail(error.into()))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(opened).map_err(fail)?;
        let maps = Scope::ALL.into_iter().flat_map(|scope| [scope.other_name(), scope.types_name()]);
        let mask = ProjectionMask::columns(reader.parquet_schema(), maps);
        let rows = usize::try_from(file.rows).unwrap_or(0);
        let (selection, read) = runs(rows);
        let reader = reader.with_projection(mask).with_row_selection(selection).build().map_err(fail)?;
        for batch in reader {
            let batch = batch.map_err(|error| fail(ParquetError::from(error)))?;
            count(&batch, rows as f64 / read.max(1) as f64, &mut counts);
        }
    }
    Ok(counts)
}

/// Short runs of rows all over the file, and how many rows they are.
fn runs(rows: usize) -> (RowSelection, usize) {
    let step = (rows * RUN_ROWS / SAMPLED_ROWS).max(RUN_ROWS);
    let (mut selectors, mut read) = (Vec::new(), 0);
    for start in (0..rows).step_by(step) {
        let run = RUN_ROWS.min(rows - start);
        selectors.push(RowSelector::select(run));
        selectors.push(RowSelector::skip(step.min(rows - start) - run));
        read += run;
    }
    (RowSelection::from(selectors), read)
}

fn count(batch: &RecordBatch, weight: f64, counts: &mut Counts) {
    for scope in Scope::ALL {
        let column = |name: &str| batch.column_by_name(name).and_then(|column| column.as_map_opt());
        let (Some(map), Some(types)) = (column(scope.other_name()), column(scope.types_name())) else { continue };
        let (keys, values) = (map.keys().as_string::<i32>(), map.values());
        let (type_keys, words) = (types.keys().as_string::<i32>(), types.values().as_string::<i32>());
        for row in 0..batch.num_rows() {
            for entry in entries(map, row).filter(|entry| values.is_valid(*entry)) {
                let key = keys.value(entry);
                let word = entries(types, row).find(|at| type_keys.value(*at) == key).map(|at| words.value(at));
                let of_type = match word {
                    None => 0,
                    Some(word) if word == ValueType::Int.word() => 1,
                    Some(_) => continue,
                };
                // Keys of millions are told apart by no column.
                if counts.len() < MAX_KEYS || counts.contains_key(&(scope, key.to_owned())) {
                    counts.entry((scope, key.to_owned())).or_default()[of_type] += weight;
                }
            }
        }
    }
}

fn entries(map: &MapArray, row: usize) -> Range<usize> {
    let offsets = map.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

/// The keys that enough of the rows have with values of one type, the densest first, without those that are known.
fn dense(counts: &Counts, rows: u64, share: f64, known: &LearnedColumns) -> Vec<(Scope, String, ValueType)> {
    let mut dense: Vec<(f64, Scope, &str, ValueType)> = Vec::new();
    for ((scope, key), [strings, integers]) in counts {
        let (count, value_type) =
            if strings >= integers { (*strings, ValueType::String) } else { (*integers, ValueType::Int) };
        if count >= share * rows as f64 && known.get(*scope, key).is_none() {
            dense.push((count, *scope, key, value_type));
        }
    }
    dense.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
    dense.into_iter().map(|(_, scope, key, value_type)| (scope, key.to_owned(), value_type)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_the_file_and_small() {
        for rows in [0, 1, 63, 64, 65, 16_384, 16_400, 262_144, 1_000_003] {
            let (selection, read) = runs(rows);
            assert_eq!(selection.row_count(), read, "{rows}");
            assert_eq!(selection.row_count() + selection.skipped_row_count(), rows, "{rows}");
            assert!(read <= rows && read <= SAMPLED_ROWS + 2 * RUN_ROWS, "{read} of {rows}");
            assert!(read == rows || read >= SAMPLED_ROWS / 2, "{read} of {rows}");
        }
    }

    #[test]
    fn keys_are_dense_by_the_rows_that_have_them_with_one_type() {
        let key = |key: &str, strings: f64, integers: f64| ((Scope::Item, key.to_owned()), [strings, integers]);
        let counts = Counts::from([
            key("often", 90.0, 10.0),
            key("numbers", 5.0, 60.0),
            key("both", 29.0, 29.0),
            key("just", 30.0, 0.0),
            key("known", 100.0, 0.0),
        ]);
        let column =
            LearnedColumn { field_id: 10_000, scope: Scope::Item, key: "known".to_owned(), value_type: ValueType::Int };
        let known = LearnedColumns::new(vec![column.clone()], [column.field_id].into());
        let found = dense(&counts, 100, 0.3, &known);
        let found: Vec<_> = found.iter().map(|(_, key, value_type)| (key.as_str(), *value_type)).collect();
        let (string, int) = (ValueType::String, ValueType::Int);
        assert_eq!(found, [("often", string), ("numbers", int), ("just", string)], "and no retired one");
    }
}
