//! Changes of state on their way into the table `alerts`. They are kept with the state that they changed, in one
//! transaction, and go from there to the lake: so the history has each of them once, whenever the process ends. Decides
//! nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    TimestampNanosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, TimestampNanosecondType};
use orrery_api::Labels;
use orrery_model::{Clock, Identity, TableName, TenantId, table};
use orrery_query::{Engine, Lane};
use orrery_storage::{AlertState, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::keep::{HistoryRow, word};

/// Changes that go to the lake together.
const BATCH: u32 = 500;
/// How long to wait after the lake took nothing.
const RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(30);

/// What moves the history.
pub struct History {
    pub state: Arc<AlertState>,
    pub store: Arc<Store>,
    pub engine: Arc<Engine>,
    pub lane: Arc<Lane>,
    pub clock: Arc<dyn Clock>,
    /// Told when there is something to move.
    pub wanted: Arc<Notify>,
}

impl History {
    /// Moves what there is until told to stop, and once more then.
    pub async fn run(self, stop: CancellationToken) {
        // Through which number all is in the lake, whether or not that could be noted.
        let mut through = 0;
        let mut retry = RETRY;
        let mut first = true;
        loop {
            let moved = self.drain(&mut through, &mut first).await;
            let wait = match moved {
                Ok(()) => {
                    retry = RETRY;
                    None
                }
                Err(why) => {
                    tracing::warn!(error = why, "the history of alerts waits for the lake");
                    retry = (retry * 2).min(MAX_RETRY);
                    Some(retry)
                }
            };
            if stop.is_cancelled() {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wanted.notified(), if wait.is_none() => {}
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    async fn drain(&self, through: &mut i64, first: &mut bool) -> Result<(), String> {
        loop {
            let waiting = self.state.history(BATCH).await.map_err(|error| error.to_string())?;
            let Some((last, _)) = waiting.last() else {
                *first = false;
                return Ok(());
            };
            let last = *last;
            let mut rows = Vec::new();
            for (number, text) in waiting.iter().filter(|(number, _)| *number > *through) {
                match serde_json::from_str::<HistoryRow>(text) {
                    Ok(row) => rows.push(row),
                    Err(error) => tracing::error!(number, %error, "a change of state cannot be read and is left out"),
                }
            }
            if *first {
                // A process before this one may have ended between the lake's yes and the note of it.
                rows = self.not_in_the_lake(rows).await?;
            }
            if !rows.is_empty() {
                let (tenant, now_ns) = (TenantId::default(), self.clock.now_ns());
                let appended = self.store.append_own(tenant, TableName::Alerts, now_ns, batch(&rows)).await;
                appended.map_err(|error| error.to_string())?;
            }
            *through = last;
            self.state.forget_history(last).await.map_err(|error| error.to_string())?;
        }
    }

    async fn not_in_the_lake(&self, rows: Vec<HistoryRow>) -> Result<Vec<HistoryRow>, String> {
        let times = || rows.iter().map(|row| row.timestamp_ns);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(rows) };
        let there = async {
            let session = self.engine.session_in(&self.lane, &Identity::default()).await?;
            let query =
                "SELECT timestamp, fingerprint, state FROM alerts WHERE timestamp >= $start AND timestamp <= $end";
            session.sql_with_params(query, &crate::rules::check::PARAMETERS, &[first, last]).await?.collect().await
        };
        let mut known = HashSet::new();
        for batch in there.await.map_err(|error| error.to_string())? {
            let times = batch.column(0).as_primitive::<TimestampNanosecondType>();
            let (fingerprints, states) = (batch.column(1).as_string::<i32>(), batch.column(2).as_string::<i32>());
            for i in 0..batch.num_rows() {
                known.insert((times.value(i), fingerprints.value(i).to_owned(), states.value(i).to_owned()));
            }
        }
        let is_new =
            |row: &HistoryRow| !known.contains(&(row.timestamp_ns, row.fingerprint.clone(), word(row.to).to_owned()));
        Ok(rows.into_iter().filter(is_new).collect())
    }
}

/// Rows of the table `alerts`.
pub fn batch(rows: &[HistoryRow]) -> RecordBatch {
    let schema = &table(TableName::Alerts).schema;
    let text =
        |of: fn(&HistoryRow) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(of))) };
    let times = |of: fn(&HistoryRow) -> i64| -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(of)))
    };
    let label = |names: &[&str]| -> ArrayRef {
        let of = |row: &HistoryRow| names.iter().find_map(|name| row.labels.get(*name)).cloned();
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    };
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "timestamp" => times(|row| row.timestamp_ns),
        "alert" => text(|row| &row.alert),
        "rule_group" => text(|row| &row.group),
        "rule_file" => text(|row| &row.file),
        "fingerprint" => text(|row| &row.fingerprint),
        "previous_state" => text(|row| word(row.from)),
        "state" => text(|row| word(row.to)),
        "active_since" => times(|row| row.active_since_ns),
        "value" => Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.value))),
        "labels" => maps(field.data_type(), rows.iter().map(|row| &row.labels)),
        "annotations" => maps(field.data_type(), rows.iter().map(|row| &row.annotations)),
        "service_name" => label(&["service_name", "service"]),
        "service_namespace" => label(&["service_namespace"]),
        "trace_ids" => lists(field.data_type(), rows),
        other => unreachable!("the table alerts has a column {other} that nobody fills"),
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).expect("the columns are the table's")
}

fn maps<'a>(data_type: &DataType, rows: impl Iterator<Item = &'a Labels> + Clone) -> ArrayRef {
    let DataType::Map(entries, sorted) = data_type else { unreachable!("labels are a map") };
    let DataType::Struct(fields) = entries.data_type() else { unreachable!("a map's entries are a struct") };
    let keys: StringArray = rows.clone().flat_map(Labels::keys).map(Some).collect();
    let values: StringArray = rows.clone().flat_map(Labels::values).map(Some).collect();
    let pairs = StructArray::new(fields.clone(), vec![Arc::new(keys), Arc::new(values)], None);
    let offsets = OffsetBuffer::from_lengths(rows.map(Labels::len));
    Arc::new(MapArray::new(Arc::clone(entries), offsets, pairs, None, *sorted))
}

fn lists(data_type: &DataType, rows: &[HistoryRow]) -> ArrayRef {
    let DataType::List(element) = data_type else { unreachable!("trace ids are a list") };
    let ids: StringArray = rows.iter().flat_map(|row| &row.trace_ids).map(Some).collect();
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.trace_ids.len()));
    Arc::new(ListArray::new(Arc::clone(element), offsets, Arc::new(ids), None))
}
