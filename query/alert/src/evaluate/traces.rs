//! Example traces of an alert that names a service: those with errors first, then the slowest, of the rule's window. Reads
//! spans, and nothing when there is no service.

use futures::StreamExt;
use orrery_api::Labels;
use orrery_query::{QueryError, Session, quote};

use crate::rules::check::{MAX_TRACE_IDS, PARAMETERS};

/// Alerts of one evaluation that are given examples; a rule that fires for hundreds at once has no use for hundreds of
/// queries.
pub const MAX_LOOKED_UP: usize = 20;

/// The traces; none where the labels name no service.
pub async fn worst(session: &Session, labels: &Labels, start_ns: i64, end_ns: i64) -> Result<Vec<String>, QueryError> {
    let Some(condition) = service(labels) else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT trace_id FROM (SELECT trace_id, max(CASE WHEN status_code = 'ERROR' THEN 1 ELSE 0 END) AS failed, \
         max(duration_ns) AS slowest FROM spans WHERE timestamp >= $start AND timestamp < $end AND trace_id IS NOT NULL \
         AND {condition} GROUP BY trace_id) ORDER BY failed DESC, slowest DESC NULLS LAST, trace_id LIMIT {MAX_TRACE_IDS}"
    );
    let mut stream = session.sql_with_params(&sql, &PARAMETERS, &[start_ns, end_ns]).await?;
    let mut ids = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let texts = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
        let texts = arrow::array::AsArray::as_string::<i32>(&texts);
        ids.extend(texts.iter().flatten().map(str::to_owned));
    }
    Ok(ids)
}

/// The spans of the service that labels name.
fn service(labels: &Labels) -> Option<String> {
    let name = labels.get("service_name").or_else(|| labels.get("service"))?;
    let namespace = labels.get("service_namespace");
    Some(match namespace {
        Some(namespace) => format!("service_name = {} AND service_namespace = {}", quote(name), quote(namespace)),
        None => match name.split_once('/') {
            // A service's id may be its namespace and its name.
            Some((namespace, bare)) => format!(
                "(service_name = {} OR service_name = {} AND service_namespace = {})",
                quote(name),
                quote(bare),
                quote(namespace)
            ),
            None => format!("service_name = {}", quote(name)),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_conditions() {
        let condition = |pairs: &[(&str, &str)]| {
            service(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(condition(&[("service_name", "it's")]).as_deref(), Some("service_name = 'it''s'"));
        assert_eq!(
            condition(&[("service", "cart"), ("service_namespace", "shop")]).as_deref(),
            Some("service_name = 'cart' AND service_namespace = 'shop'")
        );
        assert!(condition(&[("service", "shop/cart")]).is_some_and(|c| c.contains("service_namespace = 'shop'")));
        assert_eq!(condition(&[("route", "/pay")]), None);
    }
}
