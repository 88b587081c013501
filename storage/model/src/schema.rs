//! The columns of the tables: name, Arrow type, unit and the OTLP field each comes from. The one description that
//! decoding, files, catalog, SQL and export read. Never says how a column is encoded in a file.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use crate::{PROMOTED, Promoted, Scope, Signal, TableName};

/// The metadata key under which a field carries its id, the one that Parquet files and the catalog share.
pub const FIELD_ID: &str = "PARQUET:field_id";

/// One column.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub data_type: DataType,
    pub nullable: bool,
    /// `ns`, `1`, or empty where a unit makes no sense.
    pub unit: &'static str,
    /// The OTLP field, as `Message.field`; empty where the column comes from none.
    pub otlp: &'static str,
    /// The promoted key the column holds.
    pub promoted: Option<&'static Promoted>,
}

/// A table of the lake.
#[derive(Debug)]
pub struct Table {
    pub name: TableName,
    pub columns: Vec<Column>,
    /// The columns as an Arrow schema, field ids in the metadata of every field, nested ones too, numbered from 1 in
    /// preorder.
    pub schema: SchemaRef,
    pub order: Order,
    /// The text of which the catalog keeps each file's least and greatest value.
    pub ranged: &'static str,
}

/// How the rows of a file are sorted: ascending, NULLs first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Before all else by the second that the time is in.
    pub by_second: bool,
    /// Columns, of which the last one is the time.
    pub columns: &'static [&'static str],
}

impl Order {
    /// By columns alone.
    pub const fn by(columns: &'static [&'static str]) -> Self {
        Self { by_second: false, columns }
    }

    /// The columns of text that rows are sorted by before the time.
    pub fn words(&self) -> &'static [&'static str] {
        self.columns.split_last().map_or(&[], |(_, words)| words)
    }
}

impl Table {
    /// The index of a column that is known to exist.
    pub fn index_of(&self, name: &str) -> usize {
        self.schema.index_of(name).unwrap_or_else(|_| panic!("table {} has a column {name}", self.name))
    }

    /// Whether it has the attributes of a scope, in columns and in a map of the others.
    pub fn has_attributes(&self, scope: Scope) -> bool {
        self.schema.index_of(scope.other_name()).is_ok()
    }

    /// The promoted keys of the table with the index of each one's column.
    pub fn promoted(&self) -> impl Iterator<Item = (usize, &'static Promoted)> + '_ {
        self.columns.iter().enumerate().filter_map(|(i, c)| c.promoted.map(|p| (i, p)))
    }
}

/// The description of a table, or of a signal's table.
pub fn table(name: impl Into<TableName>) -> &'static Table {
    static TABLES: LazyLock<[Table; TableName::COUNT]> = LazyLock::new(|| [spans(), logs(), metrics(), alerts()]);
    &TABLES[name.into().index()]
}

/// `TIMESTAMP_NS`: nanoseconds since the Unix epoch, UTC, without a zone.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, None)
}

/// `MAP(VARCHAR, VARCHAR)`, keys unique, values nullable.
pub fn map_type() -> DataType {
    let entries =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
    DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false)
}

/// A list whose element field is called `element`, as in Parquet.
pub fn list_type(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", element, true)))
}

/// `STRUCT(timestamp, name, attributes, attribute_types, dropped_attributes_count)`.
pub fn event_type() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("timestamp", timestamp_type(), true),
        Field::new("name", DataType::Utf8, true),
        Field::new("attributes", map_type(), false),
        Field::new("attribute_types", map_type(), false),
        Field::new("dropped_attributes_count", DataType::Int64, false),
    ]))
}

/// `STRUCT(trace_id, span_id, trace_state, flags, attributes, attribute_types, dropped_attributes_count)`.
pub fn link_type() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("trace_id", DataType::Utf8, true),
        Field::new("span_id", DataType::Utf8, true),
        Field::new("trace_state", DataType::Utf8, true),
        Field::new("flags", DataType::Int64, false),
        Field::new("attributes", map_type(), false),
        Field::new("attribute_types", map_type(), false),
        Field::new("dropped_attributes_count", DataType::Int64, false),
    ]))
}

/// `STRUCT(timestamp, value, value_int, trace_id, span_id, attributes, attribute_types)`.
pub fn exemplar_type() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("timestamp", timestamp_type(), true),
        Field::new("value", DataType::Float64, true),
        Field::new("value_int", DataType::Int64, true),
        Field::new("trace_id", DataType::Utf8, true),
        Field::new("span_id", DataType::Utf8, true),
        Field::new("attributes", map_type(), false),
        Field::new("attribute_types", map_type(), false),
    ]))
}

/// `STRUCT(quantile, value)`.
pub fn quantile_type() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("quantile", DataType::Float64, false),
        Field::new("value", DataType::Float64, false),
    ]))
}

fn column(name: &str, data_type: DataType, nullable: bool, unit: &'static str, otlp: &'static str) -> Column {
    Column { name: name.to_owned(), data_type, nullable, unit, otlp, promoted: None }
}

/// A nullable string; the empty string of proto3 is NULL.
fn text(name: &str, otlp: &'static str) -> Column {
    column(name, DataType::Utf8, true, "", otlp)
}

/// A word that is always there.
fn word(name: &str, otlp: &'static str) -> Column {
    column(name, DataType::Utf8, false, "", otlp)
}

fn count(name: &str, otlp: &'static str) -> Column {
    column(name, DataType::Int64, false, "1", otlp)
}

fn spans() -> Table {
    let mut columns = vec![
        column("timestamp", timestamp_type(), false, "ns", "Span.start_time_unix_nano"),
        word("time_source", "Span.start_time_unix_nano"),
        // End less `timestamp`; NULL where no end was sent.
        column("duration_ns", DataType::Int64, true, "ns", "Span.end_time_unix_nano"),
        text("trace_id", "Span.trace_id"),
        text("span_id", "Span.span_id"),
        text("parent_span_id", "Span.parent_span_id"),
        text("trace_state", "Span.trace_state"),
        count("flags", "Span.flags"),
        text("name", "Span.name"),
        word("kind", "Span.kind"),
        word("status_code", "Status.code"),
        text("status_message", "Status.message"),
    ];
    columns.extend(service_columns(Signal::Spans));
    columns.extend([
        column("events", list_type(event_type()), false, "", "Span.events"),
        column("links", list_type(link_type()), false, "", "Span.links"),
        count("dropped_attributes_count", "Span.dropped_attributes_count"),
        count("dropped_events_count", "Span.dropped_events_count"),
        count("dropped_links_count", "Span.dropped_links_count"),
    ]);
    columns.extend(attribute_columns(Signal::Spans));
    let order = Order { by_second: true, columns: &["trace_id", "timestamp"] };
    finish(Signal::Spans, columns, order, "service_name")
}

fn logs() -> Table {
    let mut columns = vec![
        column("timestamp", timestamp_type(), false, "ns", "LogRecord.time_unix_nano"),
        word("time_source", "LogRecord.time_unix_nano"),
        column("observed_timestamp", timestamp_type(), true, "ns", "LogRecord.observed_time_unix_nano"),
        text("trace_id", "LogRecord.trace_id"),
        text("span_id", "LogRecord.span_id"),
        count("flags", "LogRecord.flags"),
        count("severity_number", "LogRecord.severity_number"),
        text("severity_text", "LogRecord.severity_text"),
        text("body", "LogRecord.body"),
        // NULL for a string body, else the `ValueType` word; the body's text is then in the text form of attributes.
        text("body_type", "LogRecord.body"),
        text("event_name", "LogRecord.event_name"),
    ];
    columns.extend(service_columns(Signal::Logs));
    columns.push(count("dropped_attributes_count", "LogRecord.dropped_attributes_count"));
    columns.extend(attribute_columns(Signal::Logs));
    finish(Signal::Logs, columns, Order::by(&["service_name", "timestamp"]), "service_name")
}

fn metrics() -> Table {
    let f64_column = |name: &str, otlp| column(name, DataType::Float64, true, "", otlp);
    let u64_list = || list_type(DataType::UInt64);
    let mut columns = vec![
        column("timestamp", timestamp_type(), false, "ns", "NumberDataPoint.time_unix_nano"),
        word("time_source", "NumberDataPoint.time_unix_nano"),
        column("start_timestamp", timestamp_type(), true, "ns", "NumberDataPoint.start_time_unix_nano"),
        text("metric_name", "Metric.name"),
        // GAUGE, SUM, HISTOGRAM, EXPONENTIAL_HISTOGRAM or SUMMARY.
        word("type", "Metric.data"),
        text("unit", "Metric.unit"),
        text("description", "Metric.description"),
        // UNSPECIFIED, DELTA or CUMULATIVE; NULL for gauges and summaries.
        text("temporality", "Sum.aggregation_temporality"),
        column("is_monotonic", DataType::Boolean, true, "", "Sum.is_monotonic"),
        f64_column("value", "NumberDataPoint.as_double"),
        column("value_int", DataType::Int64, true, "", "NumberDataPoint.as_int"),
        column("count", DataType::UInt64, true, "1", "HistogramDataPoint.count"),
        f64_column("sum", "HistogramDataPoint.sum"),
        f64_column("min", "HistogramDataPoint.min"),
        f64_column("max", "HistogramDataPoint.max"),
        column("explicit_bounds", list_type(DataType::Float64), true, "", "HistogramDataPoint.explicit_bounds"),
        column("bucket_counts", u64_list(), true, "1", "HistogramDataPoint.bucket_counts"),
        column("scale", DataType::Int32, true, "1", "ExponentialHistogramDataPoint.scale"),
        column("zero_count", DataType::UInt64, true, "1", "ExponentialHistogramDataPoint.zero_count"),
        f64_column("zero_threshold", "ExponentialHistogramDataPoint.zero_threshold"),
        // NULL offset and counts where the buckets message was absent.
        column("positive_offset", DataType::Int32, true, "1", "Buckets.offset"),
        column("positive_bucket_counts", u64_list(), true, "1", "Buckets.bucket_counts"),
        column("negative_offset", DataType::Int32, true, "1", "Buckets.offset"),
        column("negative_bucket_counts", u64_list(), true, "1", "Buckets.bucket_counts"),
        column("quantiles", list_type(quantile_type()), true, "", "SummaryDataPoint.quantile_values"),
        column("exemplars", list_type(exemplar_type()), false, "", "NumberDataPoint.exemplars"),
        count("flags", "NumberDataPoint.flags"),
        word("series_id", ""),
        column("metadata", map_type(), false, "", "Metric.metadata"),
        column("metadata_types", map_type(), false, "", "Metric.metadata"),
    ];
    columns.extend(service_columns(Signal::Metrics));
    columns.extend(attribute_columns(Signal::Metrics));
    finish(Signal::Metrics, columns, Order::by(&["metric_name", "series_id", "timestamp"]), "metric_name")
}

/// A row for each change of an alert's state.
fn alerts() -> Table {
    let columns = vec![
        // The time that the evaluation was for.
        column("timestamp", timestamp_type(), false, "ns", ""),
        word("alert", ""),
        word("rule_group", ""),
        word("rule_file", ""),
        // 16 hexadecimal digits made from the labels.
        word("fingerprint", ""),
        // inactive, pending, firing or resolved.
        word("previous_state", ""),
        word("state", ""),
        // Since when the rule's condition has held without a break.
        column("active_since", timestamp_type(), false, "ns", ""),
        column("value", DataType::Float64, false, "", ""),
        column("labels", map_type(), false, "", ""),
        column("annotations", map_type(), false, "", ""),
        text("service_name", ""),
        text("service_namespace", ""),
        column("trace_ids", list_type(DataType::Utf8), false, "", ""),
    ];
    finish(TableName::Alerts, columns, Order::by(&["alert", "timestamp"]), "alert")
}

/// The promoted columns with a name of their own. `service_name` is never NULL.
fn service_columns(signal: Signal) -> impl Iterator<Item = Column> {
    promoted_columns(signal, true)
}

/// What all tables share: the scope, its and the resource's leftovers, the promoted attributes and the maps of the others.
fn attribute_columns(signal: Signal) -> Vec<Column> {
    let mut columns = vec![
        text("scope_name", "InstrumentationScope.name"),
        text("scope_version", "InstrumentationScope.version"),
        text("scope_schema_url", "ScopeSpans.schema_url"),
        count("scope_dropped_attributes_count", "InstrumentationScope.dropped_attributes_count"),
        text("resource_schema_url", "ResourceSpans.schema_url"),
        count("resource_dropped_attributes_count", "Resource.dropped_attributes_count"),
        // NULL where there are none, else the OTLP/JSON array.
        text("resource_entity_refs", "Resource.entity_refs"),
    ];
    columns.extend(promoted_columns(signal, false));
    for scope in Scope::ALL {
        let otlp = match scope {
            Scope::Resource => "Resource.attributes",
            Scope::Scope => "InstrumentationScope.attributes",
            Scope::Item => match signal {
                Signal::Spans => "Span.attributes",
                Signal::Logs => "LogRecord.attributes",
                Signal::Metrics => "NumberDataPoint.attributes",
            },
        };
        columns.push(column(scope.other_name(), map_type(), false, "", otlp));
        columns.push(column(scope.types_name(), map_type(), false, "", otlp));
    }
    columns
}

fn promoted_columns(signal: Signal, base: bool) -> impl Iterator<Item = Column> {
    PROMOTED.iter().filter(move |p| p.is_base_column() == base && p.is_in(signal)).map(|promoted| Column {
        promoted: Some(promoted),
        nullable: promoted.column_name() != "service_name",
        ..column(&promoted.column_name(), promoted.data_type(), true, "", "KeyValue.value")
    })
}

fn finish(name: impl Into<TableName>, columns: Vec<Column>, order: Order, ranged: &'static str) -> Table {
    let mut next_id = 1;
    let fields: Vec<FieldRef> = columns
        .iter()
        .map(|c| with_field_ids(&Field::new(&c.name, c.data_type.clone(), c.nullable), &mut next_id))
        .collect();
    Table { name: name.into(), columns, schema: Arc::new(Schema::new(fields)), order, ranged }
}

/// Numbers a field and the fields within it in preorder. The `key_value` struct of a map is no column of the catalog
/// and gets no id.
fn with_field_ids(field: &Field, next_id: &mut i32) -> FieldRef {
    let id = *next_id;
    *next_id += 1;
    let data_type = match field.data_type() {
        DataType::List(element) => DataType::List(with_field_ids(element, next_id)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|f| with_field_ids(f, next_id)).collect()),
        DataType::Map(entries, sorted) => {
            let DataType::Struct(fields) = entries.data_type() else { unreachable!("a map's entries are a struct") };
            let fields: Fields = fields.iter().map(|f| with_field_ids(f, next_id)).collect();
            DataType::Map(Arc::new(Field::new(entries.name(), DataType::Struct(fields), false)), *sorted)
        }
        other => other.clone(),
    };
    let metadata = [(FIELD_ID.to_owned(), id.to_string())].into();
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()).with_metadata(metadata))
}
