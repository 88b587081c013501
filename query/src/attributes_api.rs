//! `GET /api/v1/attributes`: which keys the records of a window carry, how often, of how many values and bytes, their
//! commonest values, and where the keys live. Of a window with too many records a random sample is read, and the answer
//! says so. Distinct values are counted one by one up to a bound, so that what is below it is exact.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use axum::Json;
use axum::extract::State;
use futures::StreamExt;
use hashbrown::{HashMap, HashSet};
use orrery_api::{AttributeKey, Attributes};
use orrery_model::{Scope, Signal, ValueType, table};

use crate::asked::Asked;
use crate::columns::{Columns, Text};
use crate::http::Caller;
use crate::records::{MapEntries, attribute_columns, select_list};
use crate::{Engine, QueryError, Session};

/// Records that are read before a sample is taken instead.
const MAX_RECORDS: u64 = 200_000;
/// Distinct values of one key that are counted; beyond them `cardinality` is this number, and said not to be exact.
const MAX_VALUES: usize = 20_000;
/// Distinct keys that are counted.
const MAX_KEYS: usize = 10_000;
/// Values that are shown of a key, and how long each may be, characters.
const TOP: usize = 10;
const MAX_VALUE_CHARS: usize = 200;
const LIMIT: usize = 500;

/// `GET /api/v1/attributes`.
pub async fn attributes(
    State(engine): State<Arc<Engine>>,
    Caller(identity): Caller,
    mut asked: Asked,
) -> Result<Json<Attributes>, QueryError> {
    let window = asked.window(engine.clock().now_ns())?;
    let filter = asked.take("filter")?;
    let words = [("spans", Signal::Spans), ("logs", Signal::Logs), ("metrics", Signal::Metrics)];
    let signal = asked.word("signal", &words)?;
    let key = asked.take("key")?;
    let limit = asked.limit("limit", LIMIT, MAX_KEYS)?;
    asked.finish()?;
    let work = Arc::clone(&engine);
    let answer = async move {
        let session = work.session(&identity).await?;
        let mut condition = window.sql("timestamp");
        if let Some(text) = filter {
            condition = format!("{condition} AND {}", session.filter(signal, &text).await?.sql());
        }
        let (mut keys, partial) = count(&session, signal, &condition).await?;
        if let Some(key) = key {
            keys.retain(|k| k.key == key);
        }
        keys.truncate(limit);
        let mut receipt = session.receipt();
        receipt.partial = partial;
        Ok(Attributes { attributes: keys, receipt })
    };
    engine.run(answer).await.map(Json)
}

#[derive(Default)]
struct Seen {
    count: u64,
    types: Vec<&'static str>,
    bytes: u64,
    in_column: bool,
    in_map: bool,
    /// There are values that are not in `values`.
    more: bool,
    values: HashMap<String, u64>,
}

impl Seen {
    fn add(&mut self, value: Option<&str>, word: &'static str, in_column: bool) {
        self.count += 1;
        self.in_column |= in_column;
        self.in_map |= !in_column;
        if !self.types.contains(&word) {
            self.types.push(word);
        }
        let Some(value) = value else { return };
        self.bytes += value.len() as u64;
        if let Some(n) = self.values.get_mut(value) {
            *n += 1;
        } else if self.values.len() < MAX_VALUES {
            self.values.insert(value.to_owned(), 1);
        } else {
            self.more = true;
        }
    }
}

async fn count(
    session: &Session,
    signal: Signal,
    condition: &str,
) -> Result<(Vec<AttributeKey>, Option<String>), QueryError> {
    let total = records(session, signal, condition).await?;
    let columns = Scope::ALL.into_iter().flat_map(|scope| attribute_columns(signal, scope));
    let mut query = format!("SELECT {} FROM {signal} WHERE {condition}", select_list(columns));
    let sampled = total > MAX_RECORDS;
    if sampled {
        query = format!("{query} AND random() < {}", MAX_RECORDS as f64 / total as f64);
    }
    let mut seen: HashMap<(Scope, String), Seen> = HashMap::new();
    let mut read = 0;
    let mut stream = session.sql(&query).await?;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        read += batch.num_rows();
        for scope in Scope::ALL {
            columns_of(Columns(&batch), signal, scope, &mut seen)?;
            map_of(Columns(&batch), scope, &mut seen)?;
        }
    }
    let partial = sampled.then(|| format!("counted in a random sample of {read} of {total} records"));
    let learned = learned(session, signal);
    let key = |((scope, key), seen): ((Scope, String), Seen)| {
        let is_learned = learned.contains(&(scope, key.as_str()));
        shown(scope, key, seen, is_learned)
    };
    let mut keys: Vec<AttributeKey> = seen.into_iter().map(key).collect();
    keys.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (&a.key, &a.scope).cmp(&(&b.key, &b.scope))));
    Ok((keys, partial))
}

/// The keys that files of the table have learned columns of.
fn learned(session: &Session, signal: Signal) -> HashSet<(Scope, &str)> {
    let files = session.snapshot().table(signal).files.iter();
    let layouts = files.filter_map(|file| file.layout.as_deref());
    layouts.flat_map(|layout| &layout.learned).map(|column| (column.scope, column.key.as_str())).collect()
}

async fn records(session: &Session, signal: Signal, condition: &str) -> Result<u64, QueryError> {
    let query = format!("SELECT count(*) AS n FROM {signal} WHERE {condition}");
    for batch in session.collect(&query).await?.0 {
        if batch.num_rows() > 0 {
            return Ok(Columns(&batch).integers("n")?.or_zero(0).max(0) as u64);
        }
    }
    Ok(0)
}

fn columns_of(
    batch: Columns<'_>,
    signal: Signal,
    scope: Scope,
    seen: &mut HashMap<(Scope, String), Seen>,
) -> Result<(), QueryError> {
    for (_, promoted) in table(signal).promoted().filter(|(_, p)| p.scope == scope) {
        let array = batch.array(&promoted.column_name())?;
        if array.null_count() == array.len() {
            continue;
        }
        let entry = seen.entry((scope, promoted.key.to_owned())).or_default();
        if *array.data_type() == DataType::Int64 {
            let numbers = array.as_primitive::<Int64Type>();
            for number in numbers.iter().flatten() {
                entry.add(Some(&number.to_string()), ValueType::Int.word(), true);
            }
        } else {
            let text = Text::of(array.as_ref())?;
            for value in (0..array.len()).filter_map(|i| text.get(i)) {
                entry.add(Some(value), ValueType::String.word(), true);
            }
        }
    }
    Ok(())
}

fn map_of(batch: Columns<'_>, scope: Scope, seen: &mut HashMap<(Scope, String), Seen>) -> Result<(), QueryError> {
    let values = MapEntries::of(batch.map(scope.other_name())?)?;
    let types = MapEntries::of(batch.map(scope.types_name())?)?;
    for i in 0..batch.0.num_rows() {
        for (key, value) in values.row(i) {
            let word = types.row(i).find(|(k, _)| *k == key).and_then(|(_, t)| t).and_then(ValueType::from_word);
            let place = (scope, key.to_owned());
            if seen.len() >= MAX_KEYS && !seen.contains_key(&place) {
                continue;
            }
            seen.entry(place).or_default().add(value, word.unwrap_or(ValueType::String).word(), false);
        }
    }
    Ok(())
}

fn shown(scope: Scope, key: String, seen: Seen, is_learned: bool) -> AttributeKey {
    let place = match (seen.in_column, seen.in_map) {
        (true, true) => "both",
        (true, false) => "column",
        _ if is_learned => "learned",
        _ => "map",
    };
    let cardinality = seen.values.len() as u64;
    let mut top: Vec<(String, u64)> = seen.values.into_iter().collect();
    top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    top.truncate(TOP);
    for (value, _) in &mut top {
        if let Some((at, _)) = value.char_indices().nth(MAX_VALUE_CHARS) {
            value.truncate(at);
        }
    }
    let mut types: Vec<String> = seen.types.into_iter().map(str::to_owned).collect();
    types.sort_unstable();
    AttributeKey {
        key,
        scope: scope.word().to_owned(),
        types,
        count: seen.count,
        cardinality,
        cardinality_exact: !seen.more,
        bytes: seen.bytes,
        place: place.to_owned(),
        top,
    }
}
