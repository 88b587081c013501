//! The rows of `service_edges` and `service_operations` of one hour: what was counted beforehand, and the spans that were
//! not, minute by minute, ordered by time.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampNanosecondArray,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field};
use hashbrown::HashMap;

use super::build::own_call;
use super::hours::Hour;
use super::plan::plan;
use super::rows::{MINUTE_NS, OperationRows, Translation};
use super::tables::Derived;
use crate::graph::aggregate::{edge_id, kind_word, node_id};
use crate::graph::counted::Counted;
use crate::graph::prepare::{Prepared, Reading, prepare};
use crate::graph::totals::Totals;
use crate::histogram::Histogram;
use crate::spans::{Kind, Symbol, trace_id_hex};
use crate::{QueryError, Session};

/// The edges of an hour. Which service a peer's name means is for the whole hour to say.
pub async fn edges(session: &Session, hour: Hour, now_ns: i64) -> Result<RecordBatch, QueryError> {
    let counted = Counted::by_minute(session, hour.window(), now_ns).await?;
    let symbols = &counted.whole.words.symbols;
    let mut rows = Vec::new();
    for (minute, key, totals, unpaired) in counted.edges_by_minute() {
        let words = vec![
            edge_id(symbols, &key),
            kind_word(key.kind).to_owned(),
            node_id(symbols, key.source),
            node_id(symbols, key.target),
        ];
        rows.push(Row { minute, words, totals, unpaired });
    }
    batch(Derived::Edges, rows)
}

/// The operations of an hour.
pub async fn operations(session: &Session, hour: Hour, now_ns: i64) -> Result<RecordBatch, QueryError> {
    let plan = plan::<OperationRows>(session, hour.window(), true).await?;
    let mut found: HashMap<(i64, Symbol, Symbol, Kind), Totals> = HashMap::new();
    let count = |prepared: &Prepared| {
        let s = &prepared.spans;
        for i in (0..s.len()).filter(|&i| s.counted[i] && enters(prepared, i)) {
            let minute = s.start_ns[i] - s.start_ns[i].rem_euclid(MINUTE_NS);
            found.entry((minute, s.service[i], s.name[i], s.kind[i])).or_default().add(own_call(prepared, i));
        }
    };
    let whole = prepare(session, &plan.scope, None, Reading::GraphAndNames, now_ns, count).await?;
    let mut symbols = whole.words.symbols;
    for used in &plan.used {
        let translation = Translation::new(&used.rows.symbols, &mut symbols);
        for row in used.rows.operations.iter().filter(|row| used.minutes.contains(&row.minute)) {
            let (service, name) = (translation.symbol(row.service), translation.symbol(row.name));
            found.entry((used.minute_ns(row.minute), service, name, row.kind)).or_default().merge(&row.totals);
        }
    }
    let text = |symbol| symbols.text(symbol).to_owned();
    let row = |((minute, service, name, kind), totals): ((i64, Symbol, Symbol, Kind), Totals)| {
        let words = vec![text(service), text(name), kind.word().to_owned()];
        Row { minute, words, totals, unpaired: 0 }
    };
    batch(Derived::Operations, found.into_iter().map(row).collect())
}

/// Whether a span is a call of its service: a SERVER, a CONSUMER, or one whose parent is no span of the service.
pub fn enters(prepared: &Prepared, i: usize) -> bool {
    let s = &prepared.spans;
    let is_own = |parent: usize| s.service[parent] == s.service[i];
    matches!(s.kind[i], Kind::Server | Kind::Consumer) || !prepared.lineage.parent(i).is_some_and(is_own)
}

struct Row {
    minute: i64,
    /// The columns of words, in their order.
    words: Vec<String>,
    totals: Totals,
    unpaired: u64,
}

fn batch(derived: Derived, mut rows: Vec<Row>) -> Result<RecordBatch, QueryError> {
    rows.sort_unstable_by(|a, b| (a.minute, &a.words).cmp(&(b.minute, &b.words)));
    let schema = derived.schema();
    let word_columns = rows.first().map_or(0, |row| row.words.len());
    if word_columns == 0 {
        return Ok(RecordBatch::new_empty(schema));
    }
    let integers = |of: &dyn Fn(&Row) -> i64| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Int64Array>()) };
    let maybe = |of: &dyn Fn(&Histogram) -> i64| -> ArrayRef {
        let client = |row: &Row| Some(&row.totals.client).filter(|h| h.count() > 0).map(of);
        Arc::new(rows.iter().map(client).collect::<Int64Array>())
    };
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(rows.iter().map(|row| Some(row.minute)).collect::<TimestampNanosecondArray>())];
    for at in 0..word_columns {
        columns.push(Arc::new(rows.iter().map(|row| Some(row.words[at].as_str())).collect::<StringArray>()));
    }
    columns.push(integers(&|row| row.totals.calls().cast_signed()));
    columns.push(integers(&|row| row.totals.errors.cast_signed()));
    columns.push(Arc::new(rows.iter().map(|row| Some(row.totals.weight.value())).collect::<Float64Array>()));
    if derived == Derived::Edges {
        columns.push(integers(&|row| row.unpaired.cast_signed()));
    }
    columns.push(integers(&|row| row.totals.latency.sum()));
    columns.push(integers(&|row| row.totals.latency.parts().min));
    columns.push(integers(&|row| row.totals.latency.parts().max));
    for q in [0.5, 0.95, 0.99] {
        columns.push(integers(&|row| row.totals.latency.quantile(q)));
    }
    columns.extend(buckets(&rows, |totals| &totals.latency));
    if derived == Derived::Edges {
        columns.push(integers(&|row| row.totals.client.count().cast_signed()));
        columns.push(maybe(&Histogram::sum));
        columns.push(maybe(&|h| h.quantile(0.5)));
        columns.push(maybe(&|h| h.quantile(0.95)));
        columns.extend(buckets(&rows, |totals| &totals.client));
    }
    let mut traces = ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    for row in &rows {
        for exemplar in &row.totals.exemplars.0 {
            traces.values().append_value(trace_id_hex(exemplar.trace));
        }
        traces.append(true);
    }
    columns.push(Arc::new(traces.finish()));
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// The zero count, the first bucket's number and the counts from it on.
fn buckets(rows: &[Row], of: impl Fn(&Totals) -> &Histogram) -> [ArrayRef; 3] {
    let mut counts = ListBuilder::new(UInt64Builder::new()).with_field(Field::new("element", DataType::UInt64, true));
    let (mut zeros, mut offsets) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for row in rows {
        let parts = of(&row.totals).parts();
        zeros.push(parts.zeros.cast_signed());
        offsets.push(parts.offset as i64);
        counts.values().append_slice(&parts.counts);
        counts.append(true);
    }
    [Arc::new(Int64Array::from(zeros)), Arc::new(Int64Array::from(offsets)), Arc::new(counts.finish())]
}
