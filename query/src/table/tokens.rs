//! Reading only the sections of files whose words a condition can be true for. Wraps DataFusion's Parquet source: before a
//! file is opened, its token filters are asked and an access plan is put beside it. A file without filters is read as
//! without this; a row that matches is never left out.

use std::fmt;
use std::sync::Arc;

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
use orrery_storage::token_filter::{RowGroupTokens, TokenFilters};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::words::{COLUMN, Sought};

/// The names of the metrics in `EXPLAIN ANALYZE`.
pub(super) const ROW_GROUPS: &str = "row_groups_pruned_token_filter";
pub(super) const SECTIONS: &str = "sections_pruned_token_filter";

/// Row groups whose filters are read at once: at most 4 MiB each, commonly a twentieth of it.
const READ_AT_ONCE: usize = 8;

/// About how large a row group's filters are, for the cache's own tables.
const USUAL_BYTES: usize = 128 << 10;

/// Token filters of files, by path and row group; shared by all queries. A file never changes under its path.
pub(crate) struct TokenCache(Cache<(Path, usize), Arc<RowGroupTokens>, BySize>);

#[derive(Clone)]
struct BySize;

impl Weighter<(Path, usize), Arc<RowGroupTokens>> for BySize {
    fn weight(&self, key: &(Path, usize), tokens: &Arc<RowGroupTokens>) -> u64 {
        (key.0.as_ref().len() + tokens.size_bytes()) as u64
    }
}

impl TokenCache {
    /// Keeps at most about so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Cache::with_weighter((bytes / USUAL_BYTES).max(16), bytes as u64, BySize))
    }

    pub fn bytes(&self) -> u64 {
        self.0.weight()
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// What is looked for, and by what means files are read for it.
pub(super) struct Search {
    pub sought: Sought,
    pub reader: Arc<dyn ParquetFileReaderFactory>,
    pub cache: Arc<TokenCache>,
}

/// The Parquet source with a search before each file.
#[derive(Clone)]
pub(super) struct WordSource {
    parquet: Arc<dyn FileSource>,
    search: Arc<Search>,
}

impl WordSource {
    pub fn new(parquet: Arc<dyn FileSource>, search: Search) -> Self {
        Self { parquet, search: Arc::new(search) }
    }

    fn over(&self, parquet: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self { parquet, search: Arc::clone(&self.search) })
    }
}

impl FileSource for WordSource {
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
        Ok(Box::new(WordMorselizer(Arc::new(Shared {
            parquet: self.parquet.create_morselizer(store, config, partition)?,
            search: Arc::clone(&self.search),
            partition,
            metrics: metrics.clone(),
            row_groups: counted(ROW_GROUPS),
            sections: counted(SECTIONS),
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
            DisplayFormatType::Default | DisplayFormatType::Verbose => f.write_str(", token_filter=true"),
            DisplayFormatType::TreeRender => writeln!(f, "token_filter=true"),
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
struct WordMorselizer(Arc<Shared>);

struct Shared {
    parquet: Box<dyn Morselizer>,
    search: Arc<Search>,
    partition: usize,
    metrics: ExecutionPlanMetricsSet,
    row_groups: PruningMetrics,
    sections: PruningMetrics,
}

impl fmt::Debug for WordMorselizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WordMorselizer").field(&self.0.parquet).finish()
    }
}

impl Morselizer for WordMorselizer {
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

impl Shared {
    async fn access(&self, file: &PartitionedFile) -> Result<Access> {
        let hint = file.metadata_size_hint;
        let mut reader = self.search.reader.create_reader(self.partition, file.clone(), hint, &self.metrics)?;
        let with_index = |policy| ArrowReaderOptions::new().with_page_index_policy(policy);
        let metadata = reader.get_metadata(Some(&with_index(PageIndexPolicy::Skip))).await?;
        let said = metadata.file_metadata().key_value_metadata().and_then(|entries| TokenFilters::of(entries, COLUMN));
        let Some(filters) = said.filter(|filters| filters.row_groups() == metadata.num_row_groups()) else {
            return Ok(Access::All);
        };
        let mut plan = ParquetAccessPlan::new_all(metadata.num_row_groups());
        let own: Vec<usize> = (0..metadata.num_row_groups()).filter(|&i| is_in(file, &metadata, i)).collect();
        let (mut partly, mut all) = (false, true);
        for row_groups in own.chunks(READ_AT_ONCE) {
            let tokens = self.tokens(reader.as_mut(), file, &filters, row_groups).await?;
            for (&row_group, tokens) in row_groups.iter().zip(tokens) {
                let rows = usize::try_from(metadata.row_group(row_group).num_rows()).unwrap_or(0);
                match self.sections(tokens.as_deref(), rows, filters.section_rows()) {
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

    /// The filters of some row groups of a file; `None` for those that are not as the footer says.
    async fn tokens(
        &self,
        reader: &mut (dyn AsyncFileReader + Send),
        file: &PartitionedFile,
        filters: &TokenFilters,
        row_groups: &[usize],
    ) -> Result<Vec<Option<Arc<RowGroupTokens>>>> {
        let key = |row_group: usize| (file.object_meta.location.clone(), row_group);
        let mut found: Vec<_> = row_groups.iter().map(|&i| self.search.cache.0.get(&key(i))).collect();
        let missing: Vec<usize> = (0..found.len()).filter(|&i| found[i].is_none()).collect();
        let readable = |range: &std::ops::Range<u64>| range.start <= range.end && range.end <= file.object_meta.size;
        let ranges: Vec<_> = missing.iter().map(|&i| filters.range(row_groups[i])).collect();
        if missing.is_empty() || !ranges.iter().all(readable) {
            return Ok(found);
        }
        let read = reader.get_byte_ranges(ranges).await?;
        for (i, bytes) in missing.into_iter().zip(read) {
            if let Some(tokens) = filters.load(row_groups[i], bytes).map(Arc::new) {
                self.search.cache.0.insert(key(row_groups[i]), Arc::clone(&tokens));
                found[i] = Some(tokens);
            }
        }
        Ok(found)
    }

    fn sections(&self, tokens: Option<&RowGroupTokens>, rows: usize, section_rows: usize) -> Sections {
        let Some(tokens) = tokens.filter(|tokens| tokens.sections() == rows.div_ceil(section_rows)) else {
            return Sections::All;
        };
        let kept: Vec<usize> = (0..tokens.sections())
            .filter(|&section| self.search.sought.may_be_in(&|word| tokens.may_hold(section, word)))
            .collect();
        self.sections.add_matched(kept.len());
        self.sections.add_pruned(tokens.sections() - kept.len());
        if kept.len() == tokens.sections() {
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
