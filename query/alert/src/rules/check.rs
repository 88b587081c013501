//! Whether a rule's SQL makes alerts: it plans over the tables, and its columns are labels (texts), `value` (a number) and
//! perhaps `trace_id`. Runs no query.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Schema};
use arrow::error::ArrowError;
use orrery_api::Labels;
use orrery_query::formats::sql_type;
use orrery_query::{Prepared, QueryError, Session};

use super::file::{Rule, RuleFile};
use super::yaml::Fault;
use crate::labels;

/// What stands for the evaluation's window in a rule's SQL: `$start` and `$end`.
pub const PARAMETERS: [&str; 2] = ["start", "end"];

/// Example traces of one row.
pub const MAX_TRACE_IDS: usize = 10;

/// A rule's query, planned once for all evaluations, with what its columns are.
#[derive(Clone, Debug)]
pub struct Checked {
    pub prepared: Prepared,
    pub shape: Shape,
}

/// Which column of a result is what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    labels: Vec<(usize, String)>,
    value: usize,
    trace_ids: Option<usize>,
}

/// One row of a result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Texts that are neither NULL nor empty.
    pub labels: Labels,
    pub value: f64,
    pub trace_ids: Vec<String>,
}

/// Plans a rule's query, or says what is wrong with it and where in the file. `Err(Err(…))` is no fault of the rule's.
pub async fn check(session: &Session, rule: &Rule) -> Result<Checked, Result<Fault, QueryError>> {
    let prepared = match session.prepare(&rule.sql.text, &PARAMETERS).await {
        Ok(prepared) => prepared,
        Err(error @ (QueryError::BadRequest { .. } | QueryError::InvalidFilter { .. })) => {
            return Err(Ok(located(rule, &error)));
        }
        Err(other) => return Err(Err(other)),
    };
    let shape = Shape::of(&prepared.schema())
        .map_err(|message| Ok(Fault::new(rule.place_in_sql(1, 1), format!("sql of {}: {message}", rule.alert))))?;
    Ok(Checked { prepared, shape })
}

/// All of a file's rules, group by group; the first fault of each rule.
pub async fn check_file(
    session: &Session,
    file: &RuleFile,
) -> Result<Vec<Vec<Checked>>, Result<Vec<Fault>, QueryError>> {
    let (mut faults, mut groups) = (Vec::new(), Vec::with_capacity(file.groups.len()));
    for group in &file.groups {
        let mut rules = Vec::with_capacity(group.rules.len());
        for rule in &group.rules {
            match check(session, rule).await {
                Ok(checked) => rules.push(checked),
                Err(Ok(fault)) => faults.push(fault),
                Err(Err(error)) => return Err(Err(error)),
            }
        }
        groups.push(rules);
    }
    if faults.is_empty() { Ok(groups) } else { Err(Ok(faults)) }
}

/// The parser says where in the SQL it stopped, the planner often; else the SQL as a whole is meant.
fn located(rule: &Rule, error: &QueryError) -> Fault {
    let message = error.to_string();
    let message = message.strip_prefix("sql parser error: ").unwrap_or(&message);
    let (message, place) = match message.rsplit_once(" at Line: ") {
        Some((before, place)) => (before, place.split_once(", Column: ")),
        None => (message, None),
    };
    let numbers = place.and_then(|(line, column)| Some((line.trim().parse().ok()?, column.trim().parse().ok()?)));
    let (line, column) = match numbers {
        Some(place) => place,
        None if message.ends_with("found: EOF") => end_of(&rule.sql.text),
        None => (1, 1),
    };
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    Fault::new(rule.place_in_sql(line, column), format!("sql of {}: {message}{hint}", rule.alert))
}

/// The line and column behind the last character that is no blank.
fn end_of(text: &str) -> (u64, u64) {
    let text = text.trim_end();
    let last = text.lines().last().unwrap_or_default();
    (text.lines().count().max(1) as u64, last.chars().count() as u64 + 1)
}

impl Shape {
    /// The roles of columns, or which of them has none.
    pub fn of(schema: &Schema) -> Result<Self, String> {
        let (mut labels, mut value, mut trace_ids) = (Vec::new(), None, None);
        for (index, field) in schema.fields().iter().enumerate() {
            let (name, data_type) = (field.name().as_str(), field.data_type());
            match name {
                "value" if data_type.is_numeric() || data_type.is_null() => value = Some(index),
                "value" => return Err(format!("value is {}, not a number", sql_type(data_type))),
                "trace_id" | "trace_ids" if is_text(data_type) || is_list_of_text(data_type) => {
                    if trace_ids.replace(index).is_some() {
                        return Err("trace_id and trace_ids are one too many".to_owned());
                    }
                }
                "trace_id" | "trace_ids" => {
                    return Err(format!("{name} is {}, neither text nor a list of it", sql_type(data_type)));
                }
                labels::ALERT_NAME => return Err(format!("the label {name} is the rule's own name")),
                _ if !is_text(data_type) => {
                    return Err(format!(
                        "the column {name} is {}: columns are value, trace_id and texts, which are labels \
                         (CAST({name} AS VARCHAR) makes one)",
                        sql_type(data_type)
                    ));
                }
                _ if !labels::is_name(name) => {
                    return Err(format!("the column {name} has no name for a label (letters, digits and _): add AS …"));
                }
                _ => labels.push((index, name.to_owned())),
            }
        }
        let value = value.ok_or("it gives no column value, the number that an alert is about")?;
        Ok(Self { labels, value, trace_ids })
    }

    /// Appends the rows of a batch. A row whose value is NULL is none.
    pub fn read(&self, batch: &RecordBatch, rows: &mut Vec<Row>) -> Result<(), ArrowError> {
        let values = cast(batch.column(self.value), &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        let texts = |index: usize| cast(batch.column(index), &DataType::Utf8);
        let labels: Vec<(&str, ArrayRef)> = self
            .labels
            .iter()
            .map(|(index, name)| Ok((name.as_str(), texts(*index)?)))
            .collect::<Result<_, ArrowError>>()?;
        let trace_ids = self.trace_ids.map(|index| batch.column(index));
        for i in (0..batch.num_rows()).filter(|i| values.is_valid(*i)) {
            let label = |(name, texts): &(&str, ArrayRef)| {
                let texts = texts.as_string::<i32>();
                let text = texts.is_valid(i).then(|| texts.value(i)).filter(|text| !text.is_empty())?;
                Some(((*name).to_owned(), text.to_owned()))
            };
            rows.push(Row {
                labels: labels.iter().filter_map(label).collect(),
                value: values.value(i),
                trace_ids: trace_ids.map_or(Ok(Vec::new()), |column| ids(column, i))?,
            });
        }
        Ok(())
    }
}

/// The ids of a row, each once, the first few.
fn ids(column: &ArrayRef, row: usize) -> Result<Vec<String>, ArrowError> {
    if column.is_null(row) {
        return Ok(Vec::new());
    }
    let texts = match column.as_list_opt::<i32>() {
        Some(lists) => lists.value(row),
        None => column.slice(row, 1),
    };
    let texts = cast(&texts, &DataType::Utf8)?;
    let mut ids: Vec<String> = Vec::new();
    for id in texts.as_string::<i32>().iter().flatten().filter(|id| !id.is_empty()) {
        if ids.len() < MAX_TRACE_IDS && !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    Ok(ids)
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn is_list_of_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(element) if is_text(element.data_type()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Field;

    use super::*;

    fn field(name: &str, data_type: DataType) -> Field {
        Field::new(name, data_type, true)
    }

    #[test]
    fn columns_have_roles() {
        let (text, number) = (DataType::Utf8, DataType::Int64);
        let words = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let list = DataType::new_list(DataType::Utf8View, true);
        let good = [
            vec![field("value", number.clone())],
            vec![field("service_name", text.clone()), field("value", DataType::Decimal128(10, 2))],
            vec![field("route", words), field("value", DataType::Float64), field("trace_ids", list)],
        ];
        for fields in good {
            assert!(Shape::of(&Schema::new(fields.clone())).is_ok(), "{fields:?}");
        }
        let bad = [
            (vec![field("service_name", text.clone())], "no column value"),
            (vec![field("value", text.clone())], "value is VARCHAR, not a number"),
            (vec![field("value", DataType::Boolean)], "value is BOOLEAN"),
            (vec![field("value", number.clone()), field("calls", number.clone())], "CAST(calls AS VARCHAR)"),
            (vec![field("value", number.clone()), field("attributes['http.route']", text.clone())], "add AS …"),
            (vec![field("value", number.clone()), field("alertname", text.clone())], "the rule's own name"),
            (vec![field("value", number.clone()), field("trace_id", number.clone())], "neither text nor a list"),
            (vec![field("value", number), field("trace_id", text.clone()), field("trace_ids", text)], "one too many"),
        ];
        for (fields, message) in bad {
            let why = Shape::of(&Schema::new(fields.clone())).expect_err(message);
            assert!(why.contains(message), "{fields:?}: {why}");
        }
    }

    #[test]
    fn rows_are_read_as_labels_value_and_traces() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("service_name", Arc::new(StringArray::from(vec![Some("cart"), None, Some(""), Some("ads")]))),
            ("value", Arc::new(Int64Array::from(vec![Some(3), Some(4), Some(5), None]))),
            ("trace_id", Arc::new(StringArray::from(vec![Some("aa"), None, Some(""), Some("bb")]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let shape = Shape::of(&batch.schema()).expect("columns with roles");
        let mut rows = Vec::new();
        shape.read(&batch, &mut rows).expect("read");
        let row = |labels: &[(&str, &str)], value, ids: &[&str]| Row {
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            value,
            trace_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        };
        assert_eq!(rows, [row(&[("service_name", "cart")], 3.0, &["aa"]), row(&[], 4.0, &[]), row(&[], 5.0, &[])]);
    }

    #[test]
    fn lists_of_traces_are_cut_and_each_is_there_once() {
        let many: Vec<String> = (0..15).map(|i| format!("{i:02}")).collect();
        let all: Vec<&str> = ["00"].into_iter().chain(many.iter().map(String::as_str)).collect();
        let lists = ListArray::new(
            Arc::new(field("item", DataType::Utf8)),
            arrow::buffer::OffsetBuffer::from_lengths([all.len()]),
            Arc::new(StringArray::from(all)),
            None,
        );
        let columns: Vec<(&str, ArrayRef)> =
            vec![("value", Arc::new(Float64Array::from(vec![0.5]))), ("trace_ids", Arc::new(lists))];
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let mut rows = Vec::new();
        Shape::of(&batch.schema()).expect("roles").read(&batch, &mut rows).expect("read");
        assert_eq!(rows[0].trace_ids, many[..MAX_TRACE_IDS]);
    }
}
