//! How scans read data files: every byte is verified before it is used, and what was learned of a file's layout is kept
//! with the footers. A file that is damaged ends the query with an error that names it. Never reads what was not asked
//! for, but for the rest of the block it lies in.

use std::any::Any;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::Schema;
use bytes::Bytes;
use datafusion::common::{HashMap, internal_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::error::Result;
use datafusion::execution::cache::cache_manager::{CachedFileMetadataEntry, FileMetadata, FileMetadataCache};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectMeta;
use orrery_storage::{DataFile, VerifiedFile, always_there};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::statistics::Statistics;

/// Makes readers of files that carry their [`DataFile`] as an extension.
#[derive(Debug)]
pub(super) struct VerifiedReaders {
    footers: Arc<FileMetadataCache>,
}

impl VerifiedReaders {
    pub fn new(footers: Arc<FileMetadataCache>) -> Self {
        Self { footers }
    }

    /// The columns of a table that a file does not have, or of which the footer says that they are NULL, or empty maps or
    /// lists, in every row.
    pub async fn empty_columns(&self, file: Result<PartitionedFile>, table: &Schema) -> Result<BTreeSet<String>> {
        let metadata = self.metadata(file?).await?;
        let is_empty = |index: usize| {
            metadata.row_groups().iter().all(|group| {
                let column = group.column(index);
                let nulls = column.statistics().and_then(Statistics::null_count_opt);
                nulls == u64::try_from(column.num_values()).ok()
            })
        };
        let schema = metadata.file_metadata().schema_descr();
        let tells = |path: &[String]| path.len() == 1 || always_there(path);
        let leaves = schema.columns().iter().enumerate().filter(|(_, leaf)| tells(leaf.path().parts()));
        let empty = leaves.filter(|(index, _)| is_empty(*index)).map(|(_, leaf)| leaf.path().parts()[0].clone());
        let is_there = |name: &str| schema.root_schema().get_fields().iter().any(|column| column.name() == name);
        let absent = table.fields().iter().filter(|field| field.is_nullable() && !is_there(field.name()));
        Ok(empty.chain(absent.map(|field| field.name().clone())).collect())
    }

    async fn metadata(&self, file: PartitionedFile) -> Result<Arc<ParquetMetaData>> {
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(self.create_reader(0, file, None, &metrics)?.get_metadata(None).await?)
    }

    /// The columns of a file.
    pub async fn schema(&self, file: Result<PartitionedFile>) -> Result<Schema> {
        let metadata = self.metadata(file?).await?;
        Ok(parquet_to_arrow_schema(metadata.file_metadata().schema_descr(), None)?)
    }
}

impl ParquetFileReaderFactory for VerifiedReaders {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let data = file
            .extensions
            .get_arc::<DataFile>()
            .ok_or_else(|| internal_datafusion_err!("a file without its row of the catalog"))?;
        let metrics = ParquetFileMetrics::new(partition_index, file.object_meta.location.as_ref(), metrics);
        let footers = Arc::clone(&self.footers);
        Ok(Box::new(Reader { metrics, data, meta: file.object_meta, footers, opened: None }))
    }
}

struct Reader {
    metrics: ParquetFileMetrics,
    data: Arc<DataFile>,
    meta: ObjectMeta,
    footers: Arc<FileMetadataCache>,
    opened: Option<(VerifiedFile, Layout)>,
}

/// What the cache keeps of a file.
#[derive(Clone)]
struct Layout {
    metadata: Arc<ParquetMetaData>,
    sums: Arc<[u32]>,
}

impl FileMetadata for Layout {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn memory_size(&self) -> usize {
        self.metadata.memory_size() + size_of_val(&*self.sums)
    }

    fn extra_info(&self) -> HashMap<String, String> {
        HashMap::new()
    }
}

impl Reader {
    /// Opens the file once, with the layout from the cache or from its tail.
    async fn open(&mut self) -> parquet::errors::Result<(VerifiedFile, Layout)> {
        if let Some(opened) = &self.opened {
            return Ok(opened.clone());
        }
        let known = self.footers.get(&self.meta.location).filter(|entry| entry.is_valid_for(&self.meta));
        let known = known.and_then(|entry| entry.file_metadata.as_any().downcast_ref::<Layout>().cloned());
        let (data, cached) = (Arc::clone(&self.data), known.is_some());
        let opened = blocking(move || match known {
            Some(layout) => Ok((VerifiedFile::open_with(&data, Arc::clone(&layout.sums))?, layout)),
            None => read_layout(&data),
        })
        .await?;
        if !cached {
            let entry = CachedFileMetadataEntry::new(self.meta.clone(), Arc::new(opened.1.clone()));
            self.footers.put(&self.meta.location, entry);
        }
        self.opened = Some(opened.clone());
        Ok(opened)
    }
}

fn read_layout(data: &Arc<DataFile>) -> parquet::errors::Result<(VerifiedFile, Layout)> {
    let file = VerifiedFile::open(data)?;
    let metadata =
        ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional).parse_and_finish(&file)?;
    let layout = Layout { metadata: Arc::new(metadata), sums: file.sums()? };
    Ok((file, layout))
}

/// Reads on a thread that may wait for a disk.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> parquet::errors::Result<T> + Send + 'static,
) -> parquet::errors::Result<T> {
    tokio::task::spawn_blocking(read).await.map_err(|error| ParquetError::External(Box::new(error)))?
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.get_byte_ranges(vec![range]).map(|read| read.map(|mut bytes| bytes.swap_remove(0))).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        let total: u64 = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        self.metrics.bytes_scanned.add(usize::try_from(total).unwrap_or(usize::MAX));
        async move {
            let (file, _) = self.open().await?;
            blocking(move || Ok(file.read_ranges(&ranges)?)).await
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move { Ok(Arc::clone(&self.open().await?.1.metadata)) }.boxed()
    }
}
