//! Reading only the sections of files that a condition can be true for. Wraps DataFusion's Parquet source: before a file is
//! opened, its filters of words and values are asked and an access plan is put beside it. A file without filters is read
//! as without this; a row that matches is never left out.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, ParquetFileReaderFactory};
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricType, PruningMetrics};
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::morsel::{MorselPlan, MorselPlanner, Morselizer};
use object_store::ObjectStore;
use object_store::path::Path;
use orrery_storage::section_filter;
use orrery_storage::token_filter::{RowGroupTokens, TokenFilters};
use orrery_storage::value_filter::ValueFilters;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::sought::{Item, Sought};
use super::words::BODY;

/// What a search goes by, and the names of its metrics in `EXPLAIN ANALYZE`.
pub(super) struct Means {
    pub row_groups: &'static str,
    pub sections: &'static str,
    shown: &'static str,
}

pub(super) const WORDS: Means = Means {
    row_groups: "row_groups_pruned_token_filter",
    sections: "sections_pruned_token_filter",
    shown: "token_filter=true",
};
pub(super) const VALUES: Means = Means {
    row_groups: "row_groups_pruned_value_filter",
    sections: "sections_pruned_value_filter",
    shown: "value_filter=true",
};

/// Row groups whose filters are read at once: at most 4 MiB each, commonly a twentieth of it.
const READ_AT_ONCE: usize = 32;

/// About how large a row group's filters are, for the cache's own tables.
const USUAL_BYTES: usize = 64 << 10;
/// What is held with the filters of a file: where they lie.
const PLACES_BYTES: u64 = 8 << 10;

/// Filters of files, by path, column and row group, and where those of a file lie; shared by all queries. A file never
/// changes under its path.
pub(crate) struct FilterCache(Cache<Key, Cached, BySize>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Places(Path),
    Filters(Path, Arc<str>, usize),
}

#[derive(Clone)]
enum Cached {
    Places(Arc<Places>),
    Filters(Arc<Filters>),
}

/// Where the filters of one file lie.
struct Places {
    words: Option<TokenFilters>,
    values: Option<ValueFilters>,
}

/// The filters of one column in one row group.
enum Filters {
    Words(RowGroupTokens),
    Values(section_filter::Sections),
}

impl Filters {
    fn sections(&self) -> usize {
        match self {
            Self::Words(words) => words.sections(),
            Self::Values(values) => values.len(),
        }
    }

    /// Whether a section may hold it, if it is of the filters' column.
    fn may_hold(&self, section: usize, item: &Item) -> bool {
        match (self, item) {
            (Self::Words(words), Item::Word(word)) => words.may_hold(section, word),
            (Self::Values(values), Item::Value(_, hash)) => values.may_hold(section, *hash),
            _ => true,
        }
    }
}

#[derive(Clone)]
struct BySize;

impl Weighter<Key, Cached> for BySize {
    fn weight(&self, key: &Key, cached: &Cached) -> u64 {
        let (Key::Places(path) | Key::Filters(path, ..)) = key;
        let held = match cached {
            Cached::Places(_) => PLACES_BYTES,
            Cached::Filters(filters) => match &**filters {
                Filters::Words(words) => words.size_bytes() as u64,
                Filters::Values(values) => values.size_bytes() as u64,
            },
        };
        path.as_ref().len() as u64 + held
    }
}

impl FilterCache {
    /// Keeps at most about so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Cache::with_weighter((bytes / USUAL_BYTES).max(16), bytes as u64, BySize))
    }

    pub fn bytes(&self) -> u64 {
        self.0.weight()
    }

    /// Where a file's filters lie.
    fn places(&self, path: &Path, metadata: &ParquetMetaData) -> Arc<Places> {
        let key = Key::Places(path.clone());
        if let Some(Cached::Places(known)) = self.0.get(&key) {
            return known;
        }
        let said = metadata.file_metadata().key_value_metadata().map_or(&[][..], Vec::as_slice);
        let words = TokenFilters::of(said, BODY).filter(|words| words.row_groups() == metadata.num_row_groups());
        let values = ValueFilters::of(said);
        // Sections of two sizes are nothing that is written.
        let alike = |values: &ValueFilters| words.as_ref().is_none_or(|w| w.section_rows() == values.section_rows());
        let values = values.filter(alike);
        let places = Arc::new(Places { words, values });
        self.0.insert(key, Cached::Places(Arc::clone(&places)));
        places
    }
}

impl fmt::Debug for FilterCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterCache").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// What is looked for, and by what means files are read for it.
pub(super) struct Search {
    sought: Sought,
    reader: Arc<dyn ParquetFileReaderFactory>,
    cache: Arc<FilterCache>,
    /// The columns whose filters are asked.
    columns: BTreeSet<Arc<str>>,
    means: &'static Means,
}

impl Search {
    pub fn new(sought: Sought, reader: Arc<dyn ParquetFileReaderFactory>, cache: Arc<FilterCache>) -> Self {
        let (words, mut columns) = sought.columns();
        if words {
            columns.insert(BODY.into());
        }
        // What no row can hold comes from words that are none.
        let means = if words || columns.is_empty() { &WORDS } else { &VALUES };
        Self { sought, reader, cache, columns, means }
    }
}

/// The Parquet source with a search before each file.
#[derive(Clone)]
pub(super) struct SectionSource {
    parquet: Arc<dyn FileSource>,
    search: Arc<Search>,
}

impl SectionSource {
    pub fn new(parquet: Arc<dyn FileSource>, search: Search) -> Self {
        Self { parquet, search: Arc::new(search) }
    }

    fn over(&self, parquet: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self { parquet, search: Arc::clone(&self.search) })
    }
}

impl FileSource for SectionSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.parquet.create_file_opener(store, config, partition)
    }

    fn create_morselizer(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        let metrics = self.parquet.metrics();
        let counted = |name: &'static str| {
            MetricBuilder::new(metrics).with_type(MetricType::Summary).pruning_metrics(name, partition)
        };
        Ok(Box::new(SectionMorselizer(Arc::new(Shared {
            parquet: self.parquet.create_morselizer(store, config, partition)?,
            search: Arc::clone(&self.search),
            partition,
            metrics: metrics.clone(),
            row_groups: counted(self.search.means.row_groups),
            sections: counted(self.search.means.sections),
        }))))
    }

    fn table_schema(&self) -> &TableSchema {
        self.parquet.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        self.over(self.parquet.with_batch_size(batch_size))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.parquet.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.parquet.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.parquet.metrics()
    }

    fn file_type(&self) -> &str {
        self.parquet.file_type()
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parquet.fmt_extra(t, f)?;
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => write!(f, ", {}", self.search.means.shown),
            DisplayFormatType::TreeRender => writeln!(f, "{}", self.search.means.shown),
        }
    }

    fn supports_repartitioning(&self) -> bool {
        self.parquet.supports_repartitioning()
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let FilterPushdownPropagation { filters, updated_node } = self.parquet.try_pushdown_filters(filters, config)?;
        Ok(FilterPushdownPropagation { filters, updated_node: updated_node.map(|parquet| self.over(parquet)) })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        Ok(self.parquet.try_pushdown_sort(order, properties)?.map(|parquet| self.over(parquet)))
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.parquet.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        Ok(self.parquet.try_pushdown_projection(projection)?.map(|parquet| self.over(parquet)))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.parquet.apply_expressions(f)
    }
}

/// Plans the files of one partition.
struct SectionMorselizer(Arc<Shared>);

struct Shared {
    parquet: Box<dyn Morselizer>,
    search: Arc<Search>,
    partition: usize,
    metrics: ExecutionPlanMetricsSet,
    row_groups: PruningMetrics,
    sections: PruningMetrics,
}

impl fmt::Debug for SectionMorselizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SectionMorselizer").field(&self.0.parquet).finish()
    }
}

impl Morselizer for SectionMorselizer {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        Ok(Box::new(Unsearched { shared: Arc::clone(&self.0), file }))
    }
}

/// A file whose filters are not read yet.
struct Unsearched {
    shared: Arc<Shared>,
    file: PartitionedFile,
}

impl fmt::Debug for Unsearched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unsearched").field(&self.file.object_meta.location).finish()
    }
}

impl MorselPlanner for Unsearched {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { shared, file } = *self;
        Ok(Some(MorselPlan::new().with_pending_planner(async move {
            match shared.access(&file).await? {
                Access::All => shared.parquet.plan_file(file),
                Access::Nothing => Ok(Box::new(Nothing) as Box<dyn MorselPlanner>),
                Access::Some(plan) => shared.parquet.plan_file(file.with_extension(plan)),
            }
        })))
    }
}

/// A file without a row that could match.
#[derive(Debug)]
struct Nothing;

impl MorselPlanner for Nothing {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        Ok(None)
    }
}

/// What is to be read of a file.
enum Access {
    All,
    Nothing,
    Some(ParquetAccessPlan),
}

impl Places {
    fn are_none(&self) -> bool {
        self.words.is_none() && self.values.is_none()
    }

    fn have(&self, column: &str) -> bool {
        if column == BODY {
            return self.words.is_some();
        }
        self.values.iter().flat_map(ValueFilters::columns).any(|(name, _)| name == column)
    }

    fn section_rows(&self) -> usize {
        let words = self.words.as_ref().map(TokenFilters::section_rows);
        words.or_else(|| self.values.as_ref().map(ValueFilters::section_rows)).unwrap_or(usize::MAX)
    }

    fn range(&self, column: &str, row_group: usize) -> Option<Range<u64>> {
        match &self.words {
            Some(words) if column == BODY => Some(words.range(row_group)),
            _ => self.values.as_ref()?.range(column, row_group),
        }
    }

    fn load(&self, column: &str, row_group: usize, bytes: Bytes) -> Option<Filters> {
        match &self.words {
            Some(words) if column == BODY => words.load(row_group, bytes).map(Filters::Words),
            _ => self.values.as_ref()?.load(column, row_group, bytes).map(Filters::Values),
        }
    }
}

impl Shared {
    async fn access(&self, file: &PartitionedFile) -> Result<Access> {
        let hint = file.metadata_size_hint;
        let mut reader = self.search.reader.create_reader(self.partition, file.clone(), hint, &self.metrics)?;
        let with_index = |policy| ArrowReaderOptions::new().with_page_index_policy(policy);
        let metadata = reader.get_metadata(Some(&with_index(PageIndexPolicy::Skip))).await?;
        let places = self.search.cache.places(&file.object_meta.location, &metadata);
        let asked: Vec<&Arc<str>> = self.search.columns.iter().filter(|column| places.have(column)).collect();
        // What no row can hold needs no filter to rule sections out.
        if places.are_none() || asked.is_empty() && !self.search.columns.is_empty() {
            return Ok(Access::All);
        }
        let section_rows = places.section_rows();
        let mut plan = ParquetAccessPlan::new_all(metadata.num_row_groups());
        let own: Vec<usize> = (0..metadata.num_row_groups()).filter(|&i| is_in(file, &metadata, i)).collect();
        let (mut partly, mut all) = (false, true);
        for row_groups in own.chunks(READ_AT_ONCE) {
            let filters = self.filters(reader.as_mut(), file, &places, &asked, row_groups).await?;
            for (&row_group, filters) in row_groups.iter().zip(filters) {
                let rows = usize::try_from(metadata.row_group(row_group).num_rows()).unwrap_or(0);
                match self.sections(&filters, rows, section_rows) {
                    Sections::All => self.row_groups.add_matched(1),
                    Sections::None => {
                        all = false;
                        self.row_groups.add_pruned(1);
                        plan.skip(row_group);
                    }
                    Sections::Some(selection) => {
                        (partly, all) = (true, false);
                        self.row_groups.add_matched(1);
                        plan.scan_selection(row_group, selection);
                    }
                }
            }
        }
        if partly {
            // Where each page begins, so that those between the sections are not even fetched. It stays in the footer cache.
            reader.get_metadata(Some(&with_index(PageIndexPolicy::Optional))).await?;
        }
        let nothing = own.iter().all(|&row_group| !plan.should_scan(row_group));
        Ok(if all {
            Access::All
        } else if nothing {
            Access::Nothing
        } else {
            Access::Some(plan)
        })
    }

    /// The filters of some row groups of a file, by column; those that are not as the footer says are left out.
    async fn filters<'a>(
        &self,
        reader: &mut (dyn AsyncFileReader + Send),
        file: &PartitionedFile,
        places: &Places,
        columns: &[&'a Arc<str>],
        row_groups: &[usize],
    ) -> Result<Vec<Vec<(&'a Arc<str>, Arc<Filters>)>>> {
        let key = |column: &Arc<str>, row_group| {
            Key::Filters(file.object_meta.location.clone(), Arc::clone(column), row_group)
        };
        let mut found: Vec<Vec<_>> = row_groups.iter().map(|_| Vec::new()).collect();
        let (mut missing, mut ranges) = (Vec::new(), Vec::new());
        for (found, &row_group) in found.iter_mut().zip(row_groups) {
            for &column in columns {
                let Some(range) = places.range(column, row_group) else { continue };
                match self.search.cache.0.get(&key(column, row_group)) {
                    Some(Cached::Filters(filters)) => found.push((column, filters)),
                    _ if range.start <= range.end && range.end <= file.object_meta.size => {
                        missing.push((column, row_group));
                        ranges.push(range);
                    }
                    _ => {}
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let read = reader.get_byte_ranges(ranges).await?;
        for ((column, row_group), bytes) in missing.into_iter().zip(read) {
            let Some(filters) = places.load(column, row_group, bytes).map(Arc::new) else { continue };
            self.search.cache.0.insert(key(column, row_group), Cached::Filters(Arc::clone(&filters)));
            let at = row_groups.iter().position(|&i| i == row_group).expect("one of those asked for");
            found[at].push((column, filters));
        }
        Ok(found)
    }

    fn sections(&self, filters: &[(&Arc<str>, Arc<Filters>)], rows: usize, section_rows: usize) -> Sections {
        let sections = rows.div_ceil(section_rows);
        let filters: Vec<_> = filters.iter().filter(|(_, filters)| filters.sections() == sections).collect();
        let of = |item: &Item| {
            let column = match item {
                Item::Word(_) => BODY,
                Item::Value(column, _) => &**column,
            };
            filters.iter().find(|(name, _)| &***name == column).map(|(_, filters)| filters)
        };
        let may_be_in = |section: &usize| {
            self.search.sought.may_be_in(&|item| of(item).is_none_or(|filters| filters.may_hold(*section, item)))
        };
        let kept: Vec<usize> = (0..sections).filter(may_be_in).collect();
        self.sections.add_matched(kept.len());
        self.sections.add_pruned(sections - kept.len());
        if kept.len() == sections {
            Sections::All
        } else if kept.is_empty() {
            Sections::None
        } else {
            let ranges = kept.into_iter().map(|s| s * section_rows..rows.min((s + 1) * section_rows));
            Sections::Some(RowSelection::from_consecutive_ranges(ranges, rows))
        }
    }
}

enum Sections {
    All,
    None,
    Some(RowSelection),
}

/// Whether a row group is of the part of the file that is read here, by the rule of DataFusion: its first page is.
fn is_in(file: &PartitionedFile, metadata: &ParquetMetaData, row_group: usize) -> bool {
    let Some(range) = &file.range else { return true };
    let column = metadata.row_group(row_group).column(0);
    range.contains(column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset()))
}
