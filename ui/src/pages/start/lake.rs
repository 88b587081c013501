//! How the lake keeps itself: what is on the disk and since when, what was merged and dropped, and the attribute keys that
//! have a column.

use std::time::Duration;

use leptos::prelude::*;
use orrery_api::{LakeStatus, LearnedColumn, LearnedColumns, Status};

use crate::fetch::{Fetched, fetch};
use crate::parts::clock::ago;
use crate::{format, instant};

/// How often the page looks what was done.
const LOOK: Duration = Duration::from_secs(5);

#[component]
pub fn Lake(status: Fetched<Status>) -> impl IntoView {
    let lake = fetch::<LakeStatus>(|| Some("/api/v1/lake/status".to_owned()));
    let learned = fetch::<LearnedColumns>(|| Some("/api/v1/lake/columns".to_owned()));
    lake.retry_every(LOOK);
    learned.retry_every(LOOK);
    // What stays the same is not built anew: an open list stays open.
    let kept = Memo::new(move |_| lake.data.get());
    let columns = Memo::new(move |_| learned.data.get());
    view! {
        <section class="panel server" aria-label="The lake">
            <h2>"The lake"</h2>
            {move || match (kept.get(), lake.failure.get()) {
                (Some(lake), _) => facts(&lake, status).into_any(),
                (None, Some(failure)) => view! { <p class="error-text">{failure.message}</p> }.into_any(),
                (None, None) => view! { <p class="faint">"Loading…"</p> }.into_any(),
            }}
            {move || columns.get().filter(|learned| !learned.columns.is_empty()).map(|learned| keys(&learned))}
        </section>
    }
}

/// The first time of any row.
fn oldest(status: &Status) -> Option<String> {
    status.tables.iter().filter_map(|table| table.oldest.clone()).min_by_key(|time| instant::parse(time))
}

fn facts(lake: &LakeStatus, status: Fetched<Status>) -> impl IntoView + use<> {
    // Asked anew with every look of the page, so that it grows older.
    let oldest = move || status.data.with(|status| status.as_ref().and_then(|status| oldest(status)));
    let merging = match lake.compaction.as_str() {
        "paused" => "paused for ingest".to_owned(),
        "off" => "off (compaction.enabled)".to_owned(),
        state => state.to_owned(),
    };
    let since_start = |what: String, is_any: bool| if is_any { what } else { "nothing since the start".to_owned() };
    let merged = format!("{} rows of {}", format::count(lake.merged_rows), files(lake.merged_files));
    let dropped = format!("{}, {}", files(lake.dropped_files), format::bytes(lake.dropped_bytes));
    let failed = lake.merge_failures + lake.upkeep_failures;
    let wrong = format!("{} times; the server's log says why", format::count(failed));
    let put_off = format!("{} merges, for lack of memory or disk", format::count(lake.merges_put_off));
    view! {
        <dl class="facts">
            <div><dt>"On disk"</dt><dd title=format!("{} bytes, {} rows", format::grouped(lake.file_bytes as i64), format::grouped(lake.file_rows as i64))>{format!("{} in {}", format::bytes(lake.file_bytes), files(lake.files))}</dd></div>
            <div><dt>"Oldest row"</dt><dd title=oldest>{move || oldest().map_or_else(|| "none yet".to_owned(), |time| format!("{} ago", ago(&time)))}</dd></div>
            <div><dt>"Merging"</dt><dd>{merging}</dd></div>
            <div><dt>"Merged"</dt><dd>{since_start(merged, lake.merged_files > 0)}</dd></div>
            {(lake.merges_put_off > 0).then(|| view! { <div><dt>"Put off"</dt><dd>{put_off}</dd></div> })}
            {(failed > 0).then(|| view! { <div><dt>"Failed"</dt><dd class="error-text">{wrong}</dd></div> })}
            <div><dt>"Dropped"</dt><dd>{since_start(dropped, lake.dropped_files > 0)}</dd></div>
            {(lake.pending_bytes > 0).then(|| view! { <div><dt>"To be deleted"</dt><dd title="Merged or dropped; kept for queries under way">{format::bytes(lake.pending_bytes)}</dd></div> })}
        </dl>
    }
}

fn files(count: u64) -> String {
    format!("{} {}", format::count(count), if count == 1 { "file" } else { "files" })
}

fn keys(learned: &LearnedColumns) -> impl IntoView + use<> {
    let in_use = learned.columns.iter().filter(|column| column.in_use == Some(true)).count();
    let summary =
        format!("{in_use} {}", if in_use == 1 { "attribute has a column" } else { "attributes have a column" });
    view! {
        <details class="learned">
            <summary>{summary}</summary>
            <table class="grid small">
                <thead><tr><th scope="col">"Key"</th><th scope="col">"Of"</th><th scope="col" class="figure">"Files"</th></tr></thead>
                <tbody>{learned.columns.iter().map(key).collect_view()}</tbody>
            </table>
        </details>
    }
}

fn key(column: &LearnedColumn) -> impl IntoView + use<> {
    let of = if column.scope == "item" { column.table.clone() } else { format!("{}, {}", column.table, column.scope) };
    let is_written = column.in_use == Some(true);
    let title = if is_written { column.column.clone() } else { format!("{}; new files do not get it", column.column) };
    view! {
        <tr class:faint=!is_written title=title>
            <th scope="row" class="mono">{column.key.clone()}</th>
            <td class="muted">{of}</td>
            <td class="figure">{format::grouped(column.files.unwrap_or_default() as i64)}</td>
        </tr>
    }
}
