//! Columns of text read as the dictionaries that they are in files, beside the table's own: for those who read many rows of
//! few values. Never decides which columns these are.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::Session;
use orrery_storage::DataFile;

use super::reader::VerifiedReaders;
use super::{LakeTable, schema_of};
use crate::attributes::values::{Virtual, coded_type};

/// Of so few files the footers are looked at when a query is planned: which columns a file has is said there only.
const FEW_FILES: usize = 256;

impl LakeTable {
    /// The table with some columns as dictionaries, too.
    pub fn with_coded(mut self, columns: impl Iterator<Item = &'static str>) -> Self {
        self.virtuals.extend(columns.map(Virtual::Coded));
        self.schema = schema_of(self.table, &self.virtuals);
        self
    }

    /// The columns that are asked for as dictionaries, and read so of as many files. Rows that are kept decoded have none.
    pub(super) fn coded(&self, projection: &[usize], files: usize) -> BTreeSet<&'static str> {
        if self.known.recent.is_some() || files > FEW_FILES {
            return BTreeSet::new();
        }
        let virtuals = projection.iter().filter_map(|index| self.virtuals.get(index.checked_sub(self.stored())?));
        virtuals.filter_map(|v| if let Virtual::Coded(column) = v { Some(*column) } else { None }).collect()
    }

    /// The columns of each file, with these as dictionaries; `None` where a footer cannot be read, which fails the scan
    /// itself.
    pub(super) async fn with_dictionaries(
        &self,
        state: &dyn Session,
        files: &[Arc<DataFile>],
        coded: &BTreeSet<&str>,
    ) -> Option<Vec<SchemaRef>> {
        let readers = VerifiedReaders::new(state.runtime_env().cache_manager.get_file_metadata_cache());
        let mut schemas = Vec::with_capacity(files.len());
        for file in files {
            let schema = Arc::new(readers.schema(self.listed(file)).await.ok()?);
            schemas.push(of(schema, |column| coded.contains(column)));
        }
        Some(schemas)
    }
}

/// The columns, some of them as dictionaries.
pub(super) fn of(schema: SchemaRef, is_coded: impl Fn(&str) -> bool) -> SchemaRef {
    if !schema.fields().iter().any(|field| is_coded(field.name())) {
        return schema;
    }
    let fields = schema.fields().iter().map(|field| {
        if is_coded(field.name()) {
            Arc::new(field.as_ref().clone().with_data_type(coded_type()))
        } else {
            Arc::clone(field)
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
