//! The derived tables in SQL: `service_edges` and `service_operations`, an hour at a time from what was counted
//! beforehand where that holds and from spans where not, and `traces`, from spans. Reads through the session that it is a
//! table of; never holds more than an hour's rows.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session as Planning, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use orrery_model::schema::{list_type, timestamp_type};
use orrery_model::{Clock, Signal};

use super::hours::Hour;
use super::table_rows::{edges, operations};
use crate::QueryError;
use crate::columns::Columns;
use crate::session::WeakSession;
use crate::table::times;

/// A table that is no stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Derived {
    Edges,
    Operations,
    Traces,
}

impl Derived {
    pub const ALL: [Self; 3] = [Self::Edges, Self::Operations, Self::Traces];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Edges => "service_edges",
            Self::Operations => "service_operations",
            Self::Traces => "traces",
        }
    }

    pub fn schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<[SchemaRef; 3]> = LazyLock::new(|| {
            let text = |name| Field::new(name, DataType::Utf8, false);
            let number = |name| Field::new(name, DataType::Int64, false);
            let maybe = |name| Field::new(name, DataType::Int64, true);
            let counts = |name| Field::new(name, list_type(DataType::UInt64), false);
            let time = |name| Field::new(name, timestamp_type(), false);
            let calls =
                || vec![number("calls"), number("errors"), Field::new("estimated_calls", DataType::Float64, false)];
            let latency = || {
                let names = ["sum_ns", "min_ns", "max_ns", "p50_ns", "p95_ns", "p99_ns", "zero_count", "bucket_offset"];
                names.into_iter().map(number).chain([counts("bucket_counts")]).collect::<Vec<_>>()
            };
            let trace_ids = || Field::new("trace_ids", list_type(DataType::Utf8), false);
            let edges = [time("timestamp"), text("edge"), text("kind"), text("source"), text("target")]
                .into_iter()
                .chain(calls())
                .chain([number("unpaired")])
                .chain(latency())
                .chain([number("client_calls"), maybe("client_sum_ns"), maybe("client_p50_ns"), maybe("client_p95_ns")])
                .chain([number("client_zero_count"), number("client_bucket_offset"), counts("client_bucket_counts")])
                .chain([trace_ids()]);
            let operations = [time("timestamp"), text("service"), text("name"), text("kind")]
                .into_iter()
                .chain(calls())
                .chain(latency())
                .chain([trace_ids()]);
            let optional = |name| Field::new(name, DataType::Utf8, true);
            let traces = [
                optional("trace_id"),
                Field::new("timestamp", timestamp_type(), true),
                Field::new("end_timestamp", timestamp_type(), true),
                maybe("duration_ns"),
                maybe("spans"),
                maybe("errors"),
                optional("service_name"),
                optional("service_namespace"),
                optional("name"),
                Field::new("services", DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))), true),
            ];
            let schema = |fields: Vec<Field>| Arc::new(Schema::new(fields));
            [schema(edges.collect()), schema(operations.collect()), schema(traces.into())]
        });
        Arc::clone(&SCHEMAS[self as usize])
    }
}

/// One row a trace, of all its spans: of copies the one that started first. The root is the first span that names no
/// parent, else the first span.
const TRACES: &str = "
WITH one AS (
  SELECT trace_id, span_id, kind, min(timestamp) AS started,
    first_value(coalesce(duration_ns, 0) ORDER BY timestamp) AS lasted,
    first_value(status_code ORDER BY timestamp) AS status,
    first_value(name ORDER BY timestamp) AS span_name,
    first_value(service_name ORDER BY timestamp) AS service,
    first_value(service_namespace ORDER BY timestamp) AS namespace,
    first_value(parent_span_id ORDER BY timestamp) AS parent
  FROM spans WHERE trace_id IS NOT NULL AND span_id IS NOT NULL GROUP BY trace_id, span_id, kind
), placed AS (
  SELECT *, arrow_cast(started, 'Int64') AS started_ns,
    arrow_cast(started, 'Int64') + CASE WHEN lasted > 0 THEN lasted ELSE 0 END AS ended_ns FROM one
)
SELECT trace_id, min(started) AS timestamp,
  arrow_cast(max(ended_ns), 'Timestamp(Nanosecond, None)') AS end_timestamp,
  max(ended_ns) - min(started_ns) AS duration_ns,
  count(*) AS spans, count(*) FILTER (WHERE status = 'ERROR') AS errors,
  first_value(service ORDER BY parent IS NOT NULL, started, span_id, kind) AS service_name,
  first_value(namespace ORDER BY parent IS NOT NULL, started, span_id, kind) AS service_namespace,
  first_value(span_name ORDER BY parent IS NOT NULL, started, span_id, kind) AS name,
  array_sort(array_agg(DISTINCT CASE WHEN coalesce(namespace, '') = '' THEN service ELSE concat(namespace, '/', service) END)) AS services
FROM placed GROUP BY trace_id";

/// A derived table of one session.
pub(crate) struct DerivedTable {
    derived: Derived,
    session: WeakSession,
    clock: Arc<dyn Clock>,
}

impl DerivedTable {
    pub fn new(derived: Derived, session: WeakSession, clock: Arc<dyn Clock>) -> Self {
        Self { derived, session, clock }
    }

    pub const fn name(&self) -> &'static str {
        self.derived.name()
    }
}

impl fmt::Debug for DerivedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DerivedTable").field(&self.name()).finish()
    }
}

#[async_trait]
impl TableProvider for DerivedTable {
    fn schema(&self) -> SchemaRef {
        self.derived.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    /// Times choose the hours that are looked at, and a trace's id the files; all is filtered again above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let wanted = if self.derived == Derived::Traces { "trace_id" } else { "timestamp" };
        let answered = |expr: &&Expr| {
            if !expr.column_refs().is_empty() && expr.column_refs().iter().all(|c| c.name == wanted) {
                TableProviderFilterPushDown::Inexact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        };
        Ok(filters.iter().map(answered).collect())
    }

    async fn scan(
        &self,
        state: &dyn Planning,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.derived == Derived::Traces {
            let session = self.session.upgrade()?;
            let mut traces = session.context().sql(TRACES).await?;
            if let Some(condition) = conjunction(filters.iter().cloned()) {
                traces = traces.filter(condition)?;
            }
            if let Some(projection) = projection {
                let schema = self.schema();
                let names: Vec<&str> = projection.iter().map(|&i| schema.field(i).name().as_str()).collect();
                traces = traces.select_columns(&names)?;
            }
            let plan = session.context().state().optimize(traces.logical_plan())?;
            return state.create_physical_plan(&plan).await;
        }
        let (first_ns, last_ns) = times(filters);
        let rows = Rows {
            derived: self.derived,
            schema: self.schema(),
            session: self.session.clone(),
            now_ns: self.clock.now_ns(),
            hours: (Hour::of(first_ns), Hour::of(last_ns)),
        };
        let plan = StreamingTableExec::try_new(self.schema(), vec![Arc::new(rows)], projection, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// The rows of a table's hours, made as they are read.
struct Rows {
    derived: Derived,
    schema: SchemaRef,
    session: WeakSession,
    now_ns: i64,
    /// The first and the last.
    hours: (Hour, Hour),
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("table", &self.derived).field("hours", &self.hours).finish_non_exhaustive()
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (derived, now_ns, hours, weak) = (self.derived, self.now_ns, self.hours, self.session.clone());
        let hours = async move {
            let session = weak.upgrade()?;
            let hours = hours_with_spans(&session, hours).await?;
            let each = move |hour: Hour| {
                let session = session.clone();
                async move { hour_of(&session, derived, hour, now_ns).await.map_err(external) }
            };
            Ok::<_, DataFusionError>(futures::stream::iter(hours).then(each))
        };
        let stream = futures::stream::once(hours).flat_map(|hours| match hours {
            Ok(hours) => hours.boxed(),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

async fn hour_of(
    session: &crate::Session,
    derived: Derived,
    hour: Hour,
    now_ns: i64,
) -> std::result::Result<RecordBatch, QueryError> {
    match derived {
        Derived::Edges => edges(session, hour, now_ns).await,
        _ => operations(session, hour, now_ns).await,
    }
}

/// The hours within two that hold spans, in order.
async fn hours_with_spans(session: &crate::Session, (first, last): (Hour, Hour)) -> Result<Vec<Hour>> {
    use std::collections::BTreeSet;

    let table = session.snapshot().table(Signal::Spans);
    let mut hours: BTreeSet<Hour> = BTreeSet::new();
    let mut mixed = table.clone();
    let is_mixed = |file: &&Arc<orrery_storage::DataFile>| {
        Hour::of(file.min_timestamp_ns) != Hour::of(file.max_timestamp_ns)
            && Hour::of(file.min_timestamp_ns) <= last
            && Hour::of(file.max_timestamp_ns) >= first
    };
    mixed.files = Arc::new(table.files.iter().filter(is_mixed).cloned().collect());
    for file in table.files.iter() {
        if Hour::of(file.min_timestamp_ns) == Hour::of(file.max_timestamp_ns) {
            hours.insert(Hour::of(file.min_timestamp_ns));
        }
    }
    if !mixed.files.is_empty() || !mixed.memory.is_empty() {
        const PART: &str = "spans_of_many_hours";
        session.register_part(PART, Signal::Spans, mixed)?;
        let query =
            format!("SELECT DISTINCT arrow_cast(timestamp, 'Int64') / {} AS hour FROM {PART}", super::rows::HOUR_NS);
        for batch in session.collect(&query).await?.0 {
            let column = Columns(&batch).integers("hour")?;
            hours.extend((0..batch.num_rows()).map(|row| Hour(column.or_zero(row))));
        }
    }
    Ok(hours.into_iter().filter(|hour| first <= *hour && *hour <= last).collect())
}

fn external(error: QueryError) -> DataFusionError {
    error.into()
}

impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        Self::External(Box::new(error))
    }
}
