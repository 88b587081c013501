//! A table of the lake in SQL: its files and its memory as one, with the whole attribute maps that no file holds. Reads only
//! what a query's columns and conditions ask for; never decides which rows exist, the snapshot does.

mod dictionaries;
mod groups;
mod keys;
mod prune;
mod reader;
mod receipt;
mod recent;
mod sections;
mod sought;
mod words;

pub(crate) use keys::FileKeys;
pub(crate) use prune::{times, times_compared};
pub(crate) use receipt::{Cost, PrunedFiles, Ran, Reads};
pub(crate) use recent::Recent;
pub(crate) use sections::FilterCache;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, col, lit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column as PhysicalColumn, Literal};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::metrics::{MetricBuilder, MetricType};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use groups::{Asked, Group};
use object_store::ObjectMeta;
use object_store::path::Path;
use orrery_model::{LearnedColumn, Scope, Table, TableName, table};
use orrery_storage::{DataFile, MemoryBatch, TableSnapshot, TraceFilters, spans_received};
use prune::Reach;
use reader::VerifiedReaders;
use receipt::{FilesLeftOut, Means};
use recent::{Found, Rows, Vacant};
use sections::{Search, SectionSource};
use sought::Sought;

pub(crate) use crate::attributes::values::coded;
use crate::attributes::values::{Anywhere, Place, Values, Virtual, map_keys};

/// Of so few files the footers are looked at when a query is planned that asks for so many columns: the spans of a trace,
/// whose columns are mostly empty, cost by the column.
const FEW_FILES: usize = 4;
const MANY_COLUMNS: usize = 16;

/// A table of the lake within one session.
#[derive(Clone, Debug)]
pub(crate) struct LakeTable {
    table: &'static Table,
    /// The stored columns, then the virtual ones.
    schema: SchemaRef,
    /// The whole maps of the scopes that it has, then the keys that the query asks for.
    virtuals: Vec<Virtual>,
    snapshot: TableSnapshot,
    pruned: Arc<PrunedFiles>,
    known: Known,
}

/// What all sessions together remember of files.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub keys: Arc<FileKeys>,
    pub filters: Arc<FilterCache>,
    pub trace_filters: Arc<TraceFilters>,
    /// Of the session's lane, where it keeps any.
    pub recent: Option<Arc<Recent>>,
}

impl LakeTable {
    pub fn new(name: TableName, snapshot: TableSnapshot, pruned: Arc<PrunedFiles>, known: Known) -> Self {
        Self::of(table(name), snapshot, pruned, known)
    }

    /// The spans of files, with the column that says which flush brought a row; NULL in a flush's own file.
    pub fn received(snapshot: TableSnapshot, pruned: Arc<PrunedFiles>, known: Known) -> Self {
        Self::of(spans_received(), snapshot, pruned, known)
    }

    fn of(table: &'static Table, snapshot: TableSnapshot, pruned: Arc<PrunedFiles>, known: Known) -> Self {
        let scopes = Scope::ALL.into_iter().filter(|scope| table.has_attributes(*scope));
        let virtuals: Vec<_> = scopes.map(Virtual::Whole).collect();
        Self { table, schema: schema_of(table, &virtuals), virtuals, snapshot, pruned, known }
    }

    pub fn name(&self) -> TableName {
        self.table.name
    }

    /// The table's columns over the rows of another session.
    pub fn over(&self, other: &Self) -> Self {
        let Self { snapshot, pruned, known, .. } = other.clone();
        Self { snapshot, pruned, known, ..self.clone() }
    }

    /// The table with a virtual column, and the column's position.
    pub fn with_virtual(&self, column: Virtual) -> (Self, usize) {
        let mut table = self.clone();
        let position = table.virtuals.iter().position(|v| *v == column).unwrap_or_else(|| {
            table.virtuals.push(column);
            table.schema = schema_of(table.table, &table.virtuals);
            table.virtuals.len() - 1
        });
        (table, self.stored() + position)
    }

    /// The scope whose whole map a column is.
    pub fn whole_map(&self, column: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.map_name() == column && self.table.has_attributes(*scope))
    }

    pub fn column_name(&self, position: usize) -> &str {
        self.schema.field(position).name()
    }

    fn stored(&self) -> usize {
        self.table.columns.len()
    }

    fn values<'a>(&'a self, place: &'a dyn Place) -> Values<'a> {
        Values { table: self.table, virtuals: &self.virtuals, place }
    }

    /// The attributes that a query's columns and conditions ask for.
    fn asked(&self, projection: &[usize], filters: &[Expr]) -> Asked {
        let tested: Vec<_> = filters.iter().flat_map(Expr::column_refs).map(|c| c.name.as_str()).collect();
        let projected: Vec<_> = projection.iter().map(|&index| self.schema.field(index).name().as_str()).collect();
        let is_asked = |name: &str| tested.contains(&name) || projected.contains(&name);
        let virtuals: Vec<_> = self.virtuals.iter().filter(|v| is_asked(v.field().name())).collect();
        let maps = Scope::ALL
            .map(|scope| [scope.map_name(), scope.other_name(), scope.types_name()].into_iter().any(is_asked));
        Asked { keys: map_keys(&virtuals), maps }
    }

    /// What to read and to compute of one place; `None` where no row of it can be in.
    fn part(
        &self,
        state: &dyn Session,
        projection: &[usize],
        filters: &[Expr],
        values: &Values<'_>,
    ) -> Result<Option<Part>> {
        let mut conditions = Vec::with_capacity(filters.len());
        for filter in filters {
            match values.condition(filter.clone())? {
                Some(condition) => conditions.push(condition),
                None => return Ok(None),
            }
        }
        let outputs: Vec<Expr> = projection
            .iter()
            .map(|&index| match index.checked_sub(self.stored()) {
                None => values.stored_column(self.schema.field(index).name()),
                Some(position) => values.value(&self.virtuals[position]),
            })
            .collect();
        let schema = with_learned(&self.table.schema, values.place.learned());
        let schema = dictionaries::of(schema, |column| values.place.is_coded(column));
        let mut needed = vec![false; schema.fields().len()];
        for column in outputs.iter().chain(&conditions).flat_map(Expr::column_refs) {
            needed[schema.index_of(&column.name)?] = true;
        }
        let needed: Vec<usize> = (0..needed.len()).filter(|&i| needed[i]).collect();
        let input = DFSchema::try_from(schema.project(&needed)?)?;
        let sought = Sought::of(&conditions);
        let predicate = conjunction(conditions).map(|expr| state.create_physical_expr(expr, &input)).transpose()?;
        let is_stored = |(output, &index): (&Expr, &usize)| matches!(output, Expr::Column(column) if &column.name == self.schema.field(index).name());
        let as_stored = outputs.iter().zip(projection).all(is_stored);
        let outputs = if projection == needed && as_stored {
            None
        } else {
            let named = outputs
                .into_iter()
                .zip(projection)
                .map(|(expr, &index)| Ok((physical(state, expr, &input)?, self.schema.field(index).name().clone())));
            Some(named.collect::<Result<Vec<_>>>()?)
        };
        Ok(Some(Part { schema, needed, kept: None, sought, predicate, outputs }))
    }

    /// A group's files of which all rows are of the times asked for, and the others, each with what is to be asked of rows.
    fn by_time(&self, group: Group, filters: &[Expr]) -> Vec<(Group, Vec<Expr>)> {
        let (of_times, others): (Vec<Expr>, Vec<Expr>) = filters.iter().cloned().partition(prune::is_of_times);
        // Rows that are kept beside the memory's are asked what those are.
        if of_times.is_empty() || self.known.recent.is_some() {
            return vec![(group, filters.to_vec())];
        }
        let is_whole = |file: &Arc<DataFile>| {
            of_times.iter().all(|filter| prune::is_true_within(filter, file.min_timestamp_ns, file.max_timestamp_ns))
        };
        let (whole, rest): (Vec<_>, Vec<_>) = group.files.into_iter().partition(is_whole);
        let parts = [(whole, others), (rest, filters.to_vec())].into_iter().filter(|(files, _)| !files.is_empty());
        parts.map(|(files, filters)| (Group { place: group.place.clone(), files }, filters)).collect()
    }

    /// The batches that have rows of the times asked for. A batch has a hundred columns, and whatever is done to a batch is
    /// done to each: the few that are needed go first.
    fn memory(&self, needed: &[usize], reach: &Reach) -> Result<Vec<RecordBatch>> {
        let within = |batch: &&Arc<MemoryBatch>| reach.meets(batch.min_timestamp_ns, batch.max_timestamp_ns);
        Ok(self.snapshot.memory.iter().filter(within).map(|batch| batch.project(needed)).collect::<Result<_, _>>()?)
    }

    /// The rows of files that are kept decoded, and the files that are to be read.
    async fn recent(
        &self,
        state: &dyn Session,
        files: Vec<Arc<DataFile>>,
        part: &Part,
        reach: &Reach,
    ) -> Result<(Vec<RecordBatch>, Vec<Arc<DataFile>>)> {
        let Some(recent) = &self.known.recent else { return Ok((Vec::new(), files)) };
        let columns = Arc::new(part.schema.project(&part.needed)?);
        let needed: Vec<_> = columns.fields().iter().map(|field| field.name().as_str()).collect();
        let (mut batches, mut unread) = (Vec::new(), Vec::new());
        for file in files {
            let rows = match recent.find(self.table.name, &self.snapshot.files, &file, reach, &needed).await {
                Found::Rows(rows) => Some(rows),
                Found::Absent(vacant) => self.fill(state, &file, vacant).await?,
                Found::Nothing => None,
            };
            match rows {
                Some(rows) => batches.extend(rows.within(reach, &columns)?),
                None => unread.push(file),
            }
        }
        Ok((batches, unread))
    }

    /// Reads the latest rows of a file to be kept; `None` where they are too many.
    async fn fill(&self, state: &dyn Session, file: &Arc<DataFile>, vacant: Vacant) -> Result<Option<Arc<Rows>>> {
        // With all that the file has learned: another query asks for another column of it.
        let learned = file.layout.as_ref().map_or(&[][..], |layout| &layout.learned);
        let schema = with_learned(&self.table.schema, learned);
        let needed = (0..schema.fields().len()).filter(|&i| vacant.columns.contains(schema.field(i).name())).collect();
        let since = ScalarValue::TimestampNanosecond(Some(vacant.since_ns), None);
        let since = col("timestamp").gt_eq(lit(since));
        let kept = Some(state.create_physical_expr(since, &DFSchema::try_from(schema.as_ref().clone())?)?);
        let part = Part { schema, needed, kept, sought: Sought::Anything, predicate: None, outputs: None };
        let Some(plan) = self.files(state, std::slice::from_ref(file), None, &part, None)? else {
            return Ok(None);
        };
        let mut stream = execute_stream(plan, state.task_ctx())?;
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = stream.next().await.transpose()? {
            bytes += batch.get_array_memory_size();
            if bytes > vacant.room_bytes {
                vacant.give_up();
                return Ok(None);
            }
            batches.push(batch);
        }
        Ok(vacant.fill(&stream.schema(), &batches)?)
    }

    /// Of files that are read with dictionaries, with the columns of each.
    fn files(
        &self,
        state: &dyn Session,
        files: &[Arc<DataFile>],
        schemas: Option<Vec<SchemaRef>>,
        part: &Part,
        limit: Option<usize>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if files.is_empty() {
            return Ok(None);
        }
        let url = ObjectStoreUrl::local_filesystem();
        let runtime = state.runtime_env();
        let reader: Arc<dyn ParquetFileReaderFactory> =
            Arc::new(VerifiedReaders::new(runtime.cache_manager.get_file_metadata_cache()));
        let options = datafusion::config::TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..Default::default()
        };
        let mut source = ParquetSource::new(Arc::clone(&part.schema))
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::clone(&reader));
        if let Some(kept) = &part.kept {
            source = source.with_predicate(Arc::clone(kept));
        }
        let source: Arc<dyn FileSource> = Arc::new(source);
        let source = match &part.sought {
            Sought::Anything => source,
            sought => {
                let search = Search::new(sought.clone(), reader, Arc::clone(&self.known.filters));
                Arc::new(SectionSource::new(source, search))
            }
        };
        let mut listed = files.iter().map(|file| self.listed(file)).collect::<Result<Vec<_>>>()?;
        for (file, schema) in listed.iter_mut().zip(schemas.into_iter().flatten()) {
            file.arrow_schema = Some(schema);
        }
        let groups = FileGroup::new(listed).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(url, source)
            .with_file_groups(groups)
            .with_statistics(self.statistics_of(files, part.schema.fields().len()))
            .with_projection_indices(Some(part.needed.clone()))?
            .with_limit(limit)
            .build();
        Ok(Some(DataSourceExec::from_data_source(config)))
    }

    /// The columns that hold nothing in any of the files, as their footers say; they stay in the cache for the scan.
    async fn empty_columns(&self, state: &dyn Session, files: &[Arc<DataFile>]) -> BTreeSet<String> {
        let readers = VerifiedReaders::new(state.runtime_env().cache_manager.get_file_metadata_cache());
        let mut all: Option<BTreeSet<String>> = None;
        for file in files {
            // A file that cannot be read fails the scan itself.
            let Ok(empty) = readers.empty_columns(self.listed(file), &self.table.schema).await else {
                return BTreeSet::new();
            };
            all = Some(match all {
                Some(all) => all.intersection(&empty).cloned().collect(),
                None => empty,
            });
        }
        all.unwrap_or_default()
    }

    fn listed(&self, file: &Arc<DataFile>) -> Result<PartitionedFile> {
        let location = Path::from_absolute_path(&file.path).map_err(object_store::Error::from)?;
        // A file never changes under its name, so any fixed time keeps its footer valid in the cache.
        let meta = ObjectMeta {
            location,
            last_modified: DateTime::<Utc>::UNIX_EPOCH,
            size: file.size_bytes,
            e_tag: None,
            version: None,
        };
        // Nothing is known of the columns behind the time; of thousands of files, unknowns are what planning would make.
        let statistics = self.statistics_of(std::slice::from_ref(file), self.table.index_of("timestamp") + 1);
        let mut listed = PartitionedFile::new_from_meta(meta).with_statistics(Arc::new(statistics));
        listed.extensions.insert_arc(Arc::clone(file));
        Ok(listed)
    }

    /// Exact rows, and exact ends of `timestamp`: what answers `count(*)` and `max(timestamp)` unread. Of so many of the
    /// first columns.
    fn statistics_of(&self, files: &[Arc<DataFile>], columns: usize) -> Statistics {
        let rows: u64 = files.iter().map(|f| f.rows).sum();
        let bytes: u64 = files.iter().map(|f| f.size_bytes).sum();
        let mut statistics = Statistics {
            num_rows: Precision::Exact(usize::try_from(rows).unwrap_or(usize::MAX)),
            total_byte_size: Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX)),
            column_statistics: vec![ColumnStatistics::new_unknown(); columns],
        };
        let time = |ns: Option<i64>| {
            ns.map_or(Precision::Absent, |ns| Precision::Exact(ScalarValue::TimestampNanosecond(Some(ns), None)))
        };
        let column = &mut statistics.column_statistics[self.table.index_of("timestamp")];
        column.null_count = Precision::Exact(0);
        column.min_value = time(files.iter().map(|f| f.min_timestamp_ns).min());
        column.max_value = time(files.iter().map(|f| f.max_timestamp_ns).max());
        statistics
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Every condition is answered here, exactly, so that the columns it alone needs stop here; one on a whole map is
    /// answered above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answered = |expr: &&Expr| {
            if expr.column_refs().iter().any(|c| self.whole_map(&c.name).is_some()) {
                TableProviderFilterPushDown::Unsupported
            } else {
                TableProviderFilterPushDown::Exact
            }
        };
        Ok(filters.iter().map(answered).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        let reach = Reach::of(filters);
        let (files, mut left_out) = prune::files(&self.snapshot.files, &reach, &self.known.trace_filters).await?;
        let limit = limit.filter(|_| filters.is_empty());
        let partitions = state.config().target_partitions();

        let mut plans = Vec::new();
        let asked = self.asked(projection, filters);
        // To be read with the memory's: where no attribute is asked for, all rows in memory are alike.
        let mut kept = Vec::new();
        // Rows that are kept beside the memory's have all of the columns.
        let look = self.known.recent.is_none() && files.len() <= FEW_FILES && projection.len() >= MANY_COLUMNS;
        let coded = self.coded(projection, files.len());
        let groups = groups::grouped(files, &asked, &self.known.keys).await;
        let groups = groups.into_iter().flat_map(|group| self.by_time(group, filters));
        for (Group { mut place, files }, filters) in groups {
            let filters = filters.as_slice();
            if look {
                place.empty = self.empty_columns(state, &files).await;
            }
            let mut schemas = None;
            if !coded.is_empty() {
                schemas = self.with_dictionaries(state, &files, &coded).await;
                place.coded = if schemas.is_some() { coded.clone() } else { BTreeSet::new() };
            }
            let part = self.part(state, projection, filters, &self.values(&place))?;
            let Some(part) = part else {
                left_out[Means::Attribute as usize] += files.len();
                continue;
            };
            let (rows, files) = if part.sought.columns().0 {
                (Vec::new(), files)
            } else {
                self.recent(state, files, &part, &reach).await?
            };
            if asked.is_empty() {
                kept = rows;
            } else if let Some(source) = in_memory(&rows, &part, partitions)? {
                plans.push(part.over(source)?);
            }
            if let Some(source) = self.files(state, &files, schemas, &part, limit)? {
                plans.push(part.over(source)?);
            }
        }
        self.pruned.add(&left_out);
        if let Some(plan) = plans.first() {
            count(plan, &left_out);
        }
        if let Some(part) = self.part(state, projection, filters, &self.values(&Anywhere))? {
            kept.extend(self.memory(&part.needed, &reach)?);
            if let Some(source) = in_memory(&kept, &part, partitions)? {
                plans.push(part.over(source)?);
            }
        }
        if plans.is_empty() {
            return Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(projection)?))));
        }
        UnionExec::try_new(plans)
    }
}

/// What is read and computed of one place.
struct Part {
    /// The columns that are stored there.
    schema: SchemaRef,
    /// Those of them to read.
    needed: Vec<usize>,
    /// The rows to read of files, over all columns; the others are left unread.
    kept: Option<Arc<dyn PhysicalExpr>>,
    /// What the rows to give hold, by which sections of files are left unread.
    sought: Sought,
    /// The rows to give, over the needed columns.
    predicate: Option<Arc<dyn PhysicalExpr>>,
    /// The projected columns over the needed ones, `None` where they are the same.
    outputs: Option<Vec<(Arc<dyn PhysicalExpr>, String)>>,
}

impl Part {
    fn over(&self, mut plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(predicate) = &self.predicate {
            plan = Arc::new(FilterExec::try_new(Arc::clone(predicate), plan)?);
        }
        if let Some(outputs) = &self.outputs {
            plan = Arc::new(ProjectionExec::try_new(outputs.iter().cloned(), plan)?);
        }
        Ok(plan)
    }
}

/// An expression to be computed. Most are a column or nothing at all, of which there is nothing to make simpler.
fn physical(state: &dyn Session, expr: Expr, input: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    match expr {
        Expr::Column(column) => Ok(Arc::new(PhysicalColumn::new_with_schema(&column.name, input.as_arrow())?)),
        Expr::Literal(value, None) => Ok(Arc::new(Literal::new(value))),
        other => state.create_physical_expr(other, input),
    }
}

/// Notes on a scan of files what was left out when it was planned, for `EXPLAIN ANALYZE`.
fn count(plan: &Arc<dyn ExecutionPlan>, left_out: &FilesLeftOut) {
    let mut plan = plan;
    while let [child] = plan.children()[..] {
        plan = child;
    }
    let Some(scan) = plan.downcast_ref::<DataSourceExec>() else { return };
    let metrics = scan.data_source().metrics();
    for means in Means::ALL {
        let files = left_out[means as usize];
        if files > 0 {
            MetricBuilder::new(&metrics).with_type(MetricType::Summary).global_counter(means.metric()).add(files);
        }
    }
}

/// The columns of files that have learned some: their order is the scan's own, files are read by name.
fn with_learned(schema: &SchemaRef, learned: &[LearnedColumn]) -> SchemaRef {
    if learned.is_empty() {
        return Arc::clone(schema);
    }
    let learned = learned.iter().map(|column| Arc::new(column.field()));
    Arc::new(Schema::new(schema.fields().iter().cloned().chain(learned).collect::<Vec<_>>()))
}

fn schema_of(table: &Table, virtuals: &[Virtual]) -> SchemaRef {
    let mut fields: Vec<_> = table.schema.fields().iter().cloned().collect();
    fields.extend(virtuals.iter().map(|v| Arc::new(v.field())));
    Arc::new(Schema::new(fields))
}

/// Rows with the part's columns as the source of a plan, `None` where there are none.
fn in_memory(batches: &[RecordBatch], part: &Part, partitions: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if rows == 0 {
        return Ok(None);
    }
    let schema = Arc::new(part.schema.project(&part.needed)?);
    let source = MemorySourceConfig::try_new(&split(batches, rows, partitions), schema, None)?;
    Ok(Some(DataSourceExec::from_data_source(source.with_show_sizes(false))))
}

/// The batches in at most `partitions` parts of about as many rows each.
fn split(batches: &[RecordBatch], rows: usize, partitions: usize) -> Vec<Vec<RecordBatch>> {
    let target = rows.div_ceil(partitions.max(1));
    let mut parts = vec![Vec::new()];
    let mut filled = 0;
    for batch in batches {
        let mut offset = 0;
        while offset < batch.num_rows() {
            if filled == target {
                parts.push(Vec::new());
                filled = 0;
            }
            let take = (target - filled).min(batch.num_rows() - offset);
            parts.last_mut().expect("never empty").push(batch.slice(offset, take));
            offset += take;
            filled += take;
        }
    }
    parts
}
