//! The tables and their columns, read from the server by empty queries; a click puts a name into the editor.

use leptos::prelude::*;
use leptos::task::spawn_local;
use orrery_api::{SqlColumn, Status};

use crate::fetch::{self, fetch};
use crate::format;

const TABLES: [&str; 7] = ["spans", "logs", "metrics", "alerts", "traces", "service_edges", "service_operations"];

#[component]
pub fn Schema(insert: Callback<String>) -> impl IntoView {
    let status = fetch::<Status>(|| Some("/api/v1/status".to_owned()));
    view! {
        <aside class="split-side schema" aria-label="Tables">
            {TABLES.into_iter().map(|table| {
                let rows = move || status.data.get().and_then(|s| s.tables.iter().find(|t| t.name == table).map(|t| format::count(t.rows)));
                view! { <Table table rows=Signal::derive(move || rows().unwrap_or_default()) insert/> }
            }).collect_view()}
        </aside>
    }
}

#[component]
fn Table(table: &'static str, rows: Signal<String>, insert: Callback<String>) -> impl IntoView {
    let columns = RwSignal::new(None::<Result<Vec<SqlColumn>, String>>);
    spawn_local(async move {
        let got = fetch::sql(&format!("SELECT * FROM {table} LIMIT 0"), None, None).await;
        columns.try_set(Some(got.map(|a| a.columns).map_err(|f| f.message)));
    });
    view! {
        <details open=table == "spans">
            <summary><span class="mono">{table}</span><span class="grow"></span><span class="muted figure">{move || rows.get()}</span></summary>
            {move || match columns.get() {
                None => view! { <p class="faint pad">"Loading…"</p> }.into_any(),
                Some(Err(why)) => view! { <p class="error-text pad">{why}</p> }.into_any(),
                Some(Ok(columns)) => view! {
                    <ul>{columns.into_iter().map(|c| {
                        let word = quoted(&c.name);
                        view! { <li><button type="button" class="column-name" title=format!("{} {}", c.name, c.data_type) on:click=move |_| insert.run(word.clone())><span class="mono clip">{c.name.clone()}</span><span class="faint">{short_type(&c.data_type)}</span></button></li> }
                    }).collect_view()}</ul>
                }.into_any(),
            }}
        </details>
    }
}

/// A name as SQL takes it.
fn quoted(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn short_type(full: &str) -> String {
    let head = full.split('(').next().unwrap_or(full).to_lowercase();
    head.replace("timestamp_ns", "time").replace("varchar", "text")
}
