//! Unit tests of rules as they are written: promtool's form, with rows of telemetry (`input_rows`) in the place of its
//! `input_series`. Reads text; runs nothing.

use std::time::Duration;

use orrery_api::Labels;
use orrery_model::Signal;
use serde_json::{Map, Number, Value as Json};

use crate::rules::fields::{Fields, Text, entries};
use crate::rules::yaml::{self, Fault, Node, Position, Scalar, Value};

/// Rows that one entry of `input_rows` may stand for.
pub const MAX_ROWS: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub struct UnitFile {
    /// Relative ones begin at the test file's folder.
    pub rule_files: Vec<Text>,
    /// All groups are evaluated at this interval, whatever they say themselves.
    pub evaluation_interval: Duration,
    pub tests: Vec<UnitTest>,
}

#[derive(Clone, Debug)]
pub struct UnitTest {
    pub name: String,
    pub at: Position,
    pub input: Vec<Input>,
    pub expected: Vec<Expected>,
}

/// Rows alike but for their times.
#[derive(Clone, Debug)]
pub struct Input {
    pub signal: Signal,
    /// From the start of the test.
    pub times: Vec<Duration>,
    pub row: InputRow,
}

/// One row as it is written: column names, `attributes` and `resource_attributes` as mappings.
#[derive(Clone, Debug, PartialEq)]
pub struct InputRow {
    pub at: Position,
    pub fields: Map<String, Json>,
}

/// Which alerts of a name fire at a time: all of them, and no others.
#[derive(Clone, Debug)]
pub struct Expected {
    pub at: Position,
    pub eval_time: Duration,
    pub alert: String,
    pub group: Option<String>,
    /// Labels and annotations.
    pub alerts: Vec<(Labels, Labels)>,
}

/// Reads a test file.
pub fn parse(text: &str) -> Result<UnitFile, Fault> {
    let root = yaml::parse(text)?.ok_or_else(|| Fault::new(Position::default(), "the file is empty"))?;
    let known = ["rule_files", "evaluation_interval", "fuzzy_compare", "group_eval_order", "tests"];
    let mut fields = Fields::of(root, "a test file", &known)?;
    for unused in ["fuzzy_compare", "group_eval_order"] {
        let at = fields.place_of(unused);
        if fields.take(unused).is_some() {
            return Err(Fault::new(at, format!("{unused} is not there yet")));
        }
    }
    let rule_files = fields.list("rule_files")?;
    let rule_files =
        rule_files.into_iter().map(|node| crate::rules::fields::text(node, "a rule file")).collect::<Result<_, _>>()?;
    let evaluation_interval = fields.duration("evaluation_interval")?.unwrap_or(Duration::from_secs(60));
    if evaluation_interval.is_zero() {
        return Err(Fault::new(fields.at(), "evaluation_interval is nothing"));
    }
    let tests =
        fields.list("tests")?.into_iter().enumerate().map(|(i, node)| test(node, i)).collect::<Result<_, _>>()?;
    Ok(UnitFile { rule_files, evaluation_interval, tests })
}

fn test(node: Node, index: usize) -> Result<UnitTest, Fault> {
    let known = ["name", "interval", "input_rows", "input_series", "alert_rule_test", "promql_expr_test"];
    let mut fields = Fields::of(node, "a test", &known)?;
    let at = fields.at();
    for (absent, instead) in
        [("input_series", "write input_rows: spans, logs or metrics"), ("promql_expr_test", "PromQL is not there yet")]
    {
        let place = fields.place_of(absent);
        if fields.take(absent).is_some() {
            return Err(Fault::new(place, format!("{absent} is not for sql rules; {instead}")));
        }
    }
    let name = fields.text("name")?.map_or_else(|| format!("test {}", index + 1), |name| name.text);
    let every = fields.duration("interval")?;
    let input = fields.list("input_rows")?.into_iter().map(|node| input(node, every)).collect::<Result<_, _>>()?;
    let expected = fields.list("alert_rule_test")?.into_iter().map(expected).collect::<Result<_, _>>()?;
    Ok(UnitTest { name, at, input, expected })
}

fn input(node: Node, interval: Option<Duration>) -> Result<Input, Fault> {
    let mut fields =
        Fields::of(node, "an entry of input_rows", &["table", "at", "every", "from", "until", "count", "row"])?;
    let at = fields.at();
    let table = fields.required_text("table")?;
    let signal = Signal::ALL.into_iter().find(|signal| signal.table_name() == table.text);
    let signal = signal.ok_or_else(|| Fault::new(table.at, "table is spans, logs or metrics"))?;
    let count = fields.number("count")?.unwrap_or(1);
    let once = fields.duration("at")?;
    let (from, until) = (fields.duration("from")?, fields.duration("until")?);
    let every = fields.duration("every")?.or(interval.filter(|_| until.is_some()));
    let steps = match (once, until, every) {
        (Some(once), None, None) if from.is_none() => vec![once],
        (None, Some(until), Some(every)) if !every.is_zero() => {
            let from = from.unwrap_or_default();
            let steps = until.saturating_sub(from).as_nanos().div_ceil(every.as_nanos());
            let steps = u32::try_from(steps).unwrap_or(u32::MAX);
            if u64::from(steps).saturating_mul(count) > MAX_ROWS {
                return Err(Fault::new(at, format!("more than {MAX_ROWS} rows")));
            }
            (0..steps).map(|step| from + every * step).collect()
        }
        _ => return Err(Fault::new(at, "a row has a time (at) or times (every, from and until)")),
    };
    if steps.len() as u64 * count > MAX_ROWS {
        return Err(Fault::new(at, format!("more than {MAX_ROWS} rows")));
    }
    let times = steps.into_iter().flat_map(|step| (0..count).map(move |_| step)).collect();
    let row = fields.required("row")?;
    let at = row.at;
    let fields = entries(row, "row")?.into_iter().map(|(key, node)| (key.name, json(&node))).collect();
    Ok(Input { signal, times, row: InputRow { at, fields } })
}

fn expected(node: Node) -> Result<Expected, Fault> {
    let known = ["eval_time", "alertname", "groupname", "exp_alerts"];
    let mut fields = Fields::of(node, "an entry of alert_rule_test", &known)?;
    let at = fields.at();
    let eval_time = fields.duration("eval_time")?.unwrap_or_default();
    let alert = fields.required_text("alertname")?.text;
    let group = fields.text("groupname")?.map(|group| group.text);
    let alerts = fields.list("exp_alerts")?.into_iter().map(|node| {
        let mut fields = Fields::of(node, "an expected alert", &["exp_labels", "exp_annotations"])?;
        let mut pairs = |name| -> Result<Labels, Fault> {
            Ok(fields.texts(name)?.into_iter().map(|(key, value)| (key.name, value.text)).collect())
        };
        let mut labels = pairs("exp_labels")?;
        labels.insert(crate::labels::ALERT_NAME.to_owned(), alert.clone());
        Ok((labels, pairs("exp_annotations")?))
    });
    Ok(Expected { at, eval_time, group, alerts: alerts.collect::<Result<_, Fault>>()?, alert })
}

/// YAML's core schema: plain scalars may be numbers, booleans and nothing.
fn json(node: &Node) -> Json {
    match &node.value {
        Value::Scalar(scalar) if scalar.is_null() => Json::Null,
        Value::Scalar(Scalar { text, plain: true, .. }) => match text.as_str() {
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            _ => text
                .parse::<i64>()
                .map(Json::from)
                .ok()
                .or_else(|| text.parse().ok().and_then(Number::from_f64).map(Json::Number))
                .unwrap_or_else(|| Json::String(text.clone())),
        },
        Value::Scalar(Scalar { text, .. }) => Json::String(text.clone()),
        Value::List(elements) => Json::Array(elements.iter().map(json).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, value)| (key.name.clone(), json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_and_expectations_are_read() {
        let text = r#"
rule_files: [services.yaml]
evaluation_interval: 30s
tests:
  - interval: 1m
    input_rows:
      - {table: spans, at: 90s, row: {service_name: cart, attributes: {http.response.status_code: 500, ok: true, code: "7", f: 1.5}}}
      - {table: logs, from: 1m, until: 3m, count: 2, row: {body: hello}}
      - {table: metrics, every: 30s, until: 1m, row: {value: 3}}
    alert_rule_test:
      - eval_time: 5m
        alertname: Errors
        exp_alerts:
          - exp_labels: {service_name: cart}
            exp_annotations: {summary: it fails}
      - eval_time: 6m
        alertname: Errors
        groupname: g
"#;
        let file = parse(text).expect("a test file");
        assert_eq!((file.rule_files[0].text.as_str(), file.evaluation_interval.as_secs()), ("services.yaml", 30));
        let test = &file.tests[0];
        let times = |i: usize| test.input[i].times.iter().map(Duration::as_secs).collect::<Vec<_>>();
        assert_eq!((times(0), times(1), times(2)), (vec![90], vec![60, 60, 120, 120], vec![0, 30]));
        let attributes = json!({"http.response.status_code": 500, "ok": true, "code": "7", "f": 1.5});
        assert_eq!(test.input[0].row.fields["attributes"], attributes);
        let expected: Labels =
            [("alertname", "Errors"), ("service_name", "cart")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(test.expected[0].alerts[0].0, expected);
        assert_eq!((test.name.as_str(), test.expected[1].alerts.len()), ("test 1", 0));
    }

    #[test]
    fn bad_test_files_say_where() {
        let cases = [
            ("", 1, "the file is empty"),
            ("tests:\n  - input_series: [x]\n", 2, "input_series is not for sql rules; write input_rows"),
            ("tests:\n  - promql_expr_test: [x]\n", 2, "PromQL is not there yet"),
            (
                "tests:\n  - input_rows:\n      - {table: users, at: 1m, row: {}}\n",
                3,
                "table is spans, logs or metrics",
            ),
            ("tests:\n  - input_rows:\n      - {table: logs, row: {}}\n", 3, "a row has a time (at) or times"),
            ("tests:\n  - input_rows:\n      - {table: logs, at: 1m, every: 1m, row: {}}\n", 3, "a row has a time"),
            (
                "tests:\n  - input_rows:\n      - {table: logs, every: 1ms, until: 1d, row: {}}\n",
                3,
                "more than 1000000 rows",
            ),
            ("tests:\n  - alert_rule_test:\n      - eval_time: 1m\n", 3, "needs alertname"),
            ("tests:\n  - alert_rules_test: []\n", 2, "did you mean alert_rule_test?"),
        ];
        for (text, line, message) in cases {
            let fault = parse(text).expect_err(text);
            assert!(fault.message.contains(message), "{text}: {fault}");
            assert_eq!(fault.at.line, line, "{text}: {fault}");
        }
    }
}
