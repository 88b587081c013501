//! A rule's query over a window, and its rows with the rule's templates carried out: what the state machine takes. Keeps
//! nothing.

use futures::StreamExt;
use orrery_api::Labels;
use orrery_query::{QueryError, Session};

use crate::labels::ALERT_NAME;
use crate::rules::check::Row;
use crate::rules::{Checked, Rule};
use crate::state::Sample;
use crate::template::{Data, Template};

/// Rows of one result; more are an error, whatever the group's limit.
pub const MAX_ROWS: usize = 10_000;

/// Why there are no rows.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoRows {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("more than {MAX_ROWS} rows; each would be an alert")]
    TooMany,
}

/// The rows of a rule from `start_ns` to `end_ns`.
pub async fn rows(session: &Session, checked: &Checked, start_ns: i64, end_ns: i64) -> Result<Vec<Row>, NoRows> {
    let mut stream = session.run_prepared(&checked.prepared, &[start_ns, end_ns]).await?;
    let mut rows = Vec::new();
    while let Some(batch) = stream.next().await {
        checked.shape.read(&batch?, &mut rows).map_err(QueryError::from)?;
        if rows.len() > MAX_ROWS {
            return Err(NoRows::TooMany);
        }
    }
    Ok(rows)
}

/// The rows as they become alerts. A label that is empty in the end is none.
pub fn samples(rule: &Rule, rows: Vec<Row>, external_url: &str) -> Vec<Sample> {
    rows.into_iter()
        .map(|row| {
            let data = Data::new(&row.labels, row.value, external_url);
            let mut labels = row.labels;
            labels.extend(expanded(&rule.labels, &data));
            labels.insert(ALERT_NAME.to_owned(), rule.alert.clone());
            labels.retain(|_, value| !value.is_empty());
            let annotations = expanded(&rule.annotations, &data);
            Sample { labels, annotations, value: row.value, trace_ids: row.trace_ids }
        })
        .collect()
}

fn expanded(templates: &[(String, Template)], data: &Data) -> Labels {
    templates.iter().map(|(name, template)| (name.clone(), template.expand(data))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::file;

    #[test]
    fn rows_become_samples_with_the_rules_labels() {
        let text = r#"
groups:
  - name: g
    labels: {team: shop, severity: info}
    rules:
      - alert: ErrorRatio
        sql: SELECT 1 AS value
        labels:
          severity: '{{ if gt $value 0.5 }}page{{ else }}ticket{{ end }}'
          service_name: ""
          route: "{{ $labels.http_route | toUpper }}"
        annotations:
          summary: '{{ $labels.service_name }} fails {{ $value | humanizePercentage }} at {{ $externalURL }}'
"#;
        let rule = &file::parse(text).expect("a rule file").groups[0].rules[0];
        let labels = [("service_name", "cart"), ("http_route", "/pay")];
        let row = |value| Row {
            labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            value,
            trace_ids: vec!["aa".to_owned()],
        };
        let samples = samples(rule, vec![row(0.25), row(0.75)], "http://orrery");
        let expected = |severity: &str| -> Labels {
            let all = [
                ("alertname", "ErrorRatio"),
                ("http_route", "/pay"),
                ("route", "/PAY"),
                ("severity", severity),
                ("team", "shop"),
            ];
            all.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
        };
        assert_eq!(samples[0].labels, expected("ticket"));
        assert_eq!(samples[1].labels, expected("page"));
        assert_eq!(samples[0].annotations["summary"], "cart fails 25% at http://orrery");
        assert_eq!((samples[1].value, samples[1].trace_ids.as_slice()), (0.75, &["aa".to_owned()][..]));
    }
}
