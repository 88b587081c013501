//! Merging files changes no row: compared row by row, under readers, writers and other merges, and stopped at every step.

mod exact;
mod expire;
mod kill;
mod race;
mod random;
mod room;

use std::fs::File;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use orrery_model::{TableName, TenantId};
use orrery_storage::{CompactionConfig, DataFile, Lake, SealedBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::in_table;

fn sealed(name: TableName, batch: RecordBatch) -> SealedBatch {
    SealedBatch { tenant: TenantId::default(), table: name, batch }
}

/// Whatever the disk of the machine has free.
fn config() -> CompactionConfig {
    CompactionConfig { floor_free_bytes: 0, ..CompactionConfig::default() }
}

/// The default tenant's files of a table.
fn files(lake: &Lake, name: TableName) -> Arc<Vec<Arc<DataFile>>> {
    lake.view().files(&TenantId::default(), name)
}

/// All rows and columns that are in a file.
fn read_whole(file: &DataFile) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path).expect("the file is there"))
        .expect("the file is Parquet");
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().expect("it can be read").map(|batch| batch.expect("it can be read")).collect();
    concat_batches(&schema, &batches).expect("one schema")
}

/// The rows of a file with the columns of its table.
fn read(name: TableName, file: &DataFile) -> RecordBatch {
    in_table(name, &read_whole(file))
}
