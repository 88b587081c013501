//! The log records of a trace, oldest first: the order in which things happened.

use leptos::prelude::*;
use orrery_api::Logs;

use super::Shared;
use crate::address::Query;
use crate::fetch::fetch;
use crate::parts::log_row::log_rows;
use crate::parts::receipt::receipt;
use crate::parts::state::{answer, nothing};

/// More than a person reads; the logs page goes on from there.
const MOST: &str = "1000";

#[component]
pub fn TraceLogs(shared: Shared) -> impl IntoView {
    let logs = fetch::<Logs>(move || {
        // By the trace's id no window is needed: records that were written late are found too.
        let id = shared.trace.with_value(|t| t.trace_id.clone());
        Some(Query::default().with("trace_id", Some(&id)).with("limit", Some(MOST)).href("/api/v1/logs"))
    });
    answer(logs, |data| {
        if data.logs.is_empty() {
            return nothing(
                "No log record carries this trace's id",
                "Loggers add it where the OpenTelemetry appender or bridge of the language is installed.",
            )
            .into_any();
        }
        let mut records = data.logs.clone();
        records.reverse();
        view! { <div class="logs">{log_rows(&records, true)}</div> {receipt(&data.receipt)} }.into_any()
    })
}
