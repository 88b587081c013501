//! `/sql`: any question in SQL: the tables beside the editor, the answer as a grid that sorts and saves.

mod grid;
mod schema;

use std::sync::Arc;

use leptos::html;
use leptos::prelude::*;
use leptos::task::spawn_local;
use orrery_api::{SqlFormat, SqlResponse};
use wasm_bindgen::JsCast;
use web_sys::AbortController;

use crate::context::{now, use_app};
use crate::fetch::{self, Failure};
use crate::format;
use crate::parts::icon::{Icon, icon};
use crate::parts::receipt::receipt;
use crate::parts::state::nothing;
use crate::range::Window;

/// What the editor holds before anything is typed.
const FIRST: &str = "SELECT service_name, count(*) AS spans, count(*) FILTER (WHERE status_code = 'ERROR') AS errors\nFROM spans\nGROUP BY service_name\nORDER BY spans DESC\nLIMIT 100";

const EXAMPLES: [(&str, &str); 4] = [
    ("Spans by service", FIRST),
    (
        "Slowest operations",
        "SELECT service_name, name, count(*) AS calls, max(duration_ns) / 1e6 AS max_ms, avg(duration_ns) / 1e6 AS mean_ms\nFROM spans\nWHERE kind = 'SERVER'\nGROUP BY service_name, name\nORDER BY max_ms DESC\nLIMIT 50",
    ),
    (
        "Latest errors",
        "SELECT timestamp, service_name, name, status_message, trace_id\nFROM spans\nWHERE status_code = 'ERROR'\nORDER BY timestamp DESC\nLIMIT 100",
    ),
    (
        "Logs by severity",
        "SELECT service_name, severity_text, count(*) AS records\nFROM logs\nGROUP BY service_name, severity_text\nORDER BY records DESC\nLIMIT 100",
    ),
];

#[derive(Clone)]
enum Outcome {
    Nothing,
    Running,
    Answer(Arc<SqlResponse>, Window),
    Failed(Failure),
}

#[component]
pub fn Sql() -> impl IntoView {
    let app = use_app();
    let asked = app.param("q");
    let text = RwSignal::new(asked.get_untracked().unwrap_or_else(|| FIRST.to_owned()));
    let outcome = RwSignal::new(Outcome::Nothing);
    let turn = StoredValue::new(0_u64);
    let controller: StoredValue<Option<AbortController>, LocalStorage> = StoredValue::new_local(None);
    let stop = move || {
        controller.try_update_value(|held| {
            if let Some(held) = held.take() {
                held.abort();
            }
        });
    };
    on_cleanup(stop);
    let run = move |query: String| {
        stop();
        let next = AbortController::new().ok();
        let signal = next.as_ref().map(AbortController::signal);
        controller.set_value(next);
        turn.update_value(|n| *n += 1);
        let mine = turn.get_value();
        outcome.set(Outcome::Running);
        // The window of this moment; choosing another one runs nothing by itself.
        let window = app.range.get_untracked().at(now());
        spawn_local(async move {
            let got = fetch::sql(&query, Some(window), signal.as_ref()).await;
            if turn.try_get_value() == Some(mine) {
                outcome.try_set(match got {
                    Ok(answer) => Outcome::Answer(Arc::new(answer), window),
                    Err(failure) => Outcome::Failed(failure),
                });
            }
        });
    };
    let last_run = StoredValue::new(None::<String>);
    let ask = move || {
        let query = text.get_untracked().trim().to_owned();
        if query.is_empty() {
            return;
        }
        last_run.set_value(Some(query.clone()));
        app.set(&[("q", Some(&query))]);
        run(query);
    };
    // A link or Back brings a question along: it is put into the editor and run.
    Effect::new(move |_| {
        if let Some(query) = asked.get()
            && last_run.get_value().as_ref() != Some(&query)
        {
            text.set(query.clone());
            last_run.set_value(Some(query.clone()));
            run(query);
        }
    });
    let editor = NodeRef::<html::Textarea>::new();
    let insert = move |word: &str| {
        let Some(editor) = editor.get_untracked() else { return };
        let at = editor.selection_start().ok().flatten().map_or(usize::MAX, |at| at as usize);
        text.update(|t| {
            // The browser counts UTF-16 units; the byte is found by counting the same.
            let mut units = 0;
            let byte = t
                .char_indices()
                .find(|(_, c)| {
                    let here = units >= at;
                    units += c.len_utf16();
                    here
                })
                .map_or(t.len(), |(i, _)| i);
            t.insert_str(byte, word);
        });
        // Focus cannot fail on an element that is in the page.
        let _ = editor.focus();
    };
    view! {
        <header class="page-head row">
            <h1>"SQL"</h1>
            <span class="grow"></span>
            {EXAMPLES.into_iter().map(|(title, query)| view! {
                <button type="button" class="button ghost small wide" on:click=move |_| { text.set(query.to_owned()); ask(); }>{title}</button>
            }).collect_view()}
        </header>
        <div class="split sql">
            <schema::Schema insert=Callback::new(move |word: String| insert(&word))/>
            <div class="split-main">
                <div class="editor">
                    <textarea node_ref=editor class="mono" spellcheck="false" autocapitalize="off" rows="7" aria-label="Query"
                        prop:value=move || text.get()
                        on:input=move |event| text.set(event_target_value(&event))
                        on:keydown=move |event| if event.key() == "Enter" && (event.ctrl_key() || event.meta_key()) { event.prevent_default(); ask(); }
                    ></textarea>
                    <div class="row editor-acts">
                        <span class="muted grow">"Tables "<code>"spans"</code>", "<code>"logs"</code>", "<code>"metrics"</code>", "<code>"alerts"</code>", "<code>"traces"</code>", "<code>"service_edges"</code>" and "<code>"service_operations"</code>"; any attribute as "<code>"attributes['key']"</code>"; "<code>"$start"</code>" and "<code>"$end"</code>" are the time range"</span>
                        {move || match outcome.get() {
                            Outcome::Running => view! { <button type="button" class="button" on:click=move |_| { stop(); outcome.set(Outcome::Nothing); }>{icon(Icon::Close)}"Cancel"</button> }.into_any(),
                            _ => view! { <button type="button" class="button primary" on:click=move |_| ask()>{icon(Icon::Play)}"Run"<kbd>"Ctrl ⏎"</kbd></button> }.into_any(),
                        }}
                    </div>
                </div>
                {move || match outcome.get() {
                    Outcome::Nothing => nothing("No result yet", "Ctrl-Enter runs the query.").into_any(),
                    Outcome::Running => view! { <div class="progress on" role="status" aria-label="Running"></div> }.into_any(),
                    Outcome::Failed(failure) => failed(&failure).into_any(),
                    Outcome::Answer(answer, window) => view! { <Result answer query=last_run.get_value().unwrap_or_default() window/> }.into_any(),
                }}
            </div>
        </div>
    }
}

/// An error of the query is read beside the query, not instead of the page.
fn failed(failure: &Failure) -> impl IntoView + use<> {
    view! {
        <div class="sql-error" role="alert">
            <p class="error-text">{icon(Icon::Error)}<b>{failure.code.replace('_', " ")}</b></p>
            <pre class="mono">{failure.message.clone()}</pre>
            {failure.hint.clone().map(|hint| view! { <p class="muted">{hint}</p> })}
        </div>
    }
}

#[component]
fn Result(
    answer: Arc<SqlResponse>,
    query: String,
    /// What it was run for: what is saved is of the same rows.
    window: Window,
) -> impl IntoView {
    let rows = answer.rows.len();
    let problem = RwSignal::new(None::<String>);
    let as_json = answer.clone();
    let save_json = move |_| match blob("application/json", &objects(&as_json)) {
        Ok(file) => save("orrery.json", &file, problem),
        Err(_) => problem.set(Some("The browser refused the file".to_owned())),
    };
    let save_csv = move |_| {
        let query = query.clone();
        spawn_local(async move {
            match fetch::sql_file(&query, window, SqlFormat::Csv).await {
                Ok(file) => save("orrery.csv", &file, problem),
                Err(failure) => problem.set(Some(failure.message)),
            }
        });
    };
    view! {
        <div class="row result-head">
            <b>{format!("{} {}", format::grouped(rows as i64), if rows == 1 { "row" } else { "rows" })}</b>
            <span class="grow"></span>
            {move || problem.get().map(|p| view! { <span class="error-text">{p}</span> })}
            <button type="button" class="button small" on:click=save_csv>{icon(Icon::Download)}"CSV"</button>
            <button type="button" class="button small" on:click=save_json>{icon(Icon::Download)}"JSON"</button>
        </div>
        <grid::Grid answer=answer.clone()/>
        {receipt(&answer.receipt)}
    }
}

/// The rows as JSON objects by column name.
fn objects(answer: &SqlResponse) -> String {
    let object = |row: &Vec<serde_json::Value>| {
        let pairs = answer.columns.iter().zip(row).map(|(c, v)| (c.name.clone(), v.clone()));
        serde_json::Value::Object(pairs.collect())
    };
    let all: Vec<serde_json::Value> = answer.rows.iter().map(object).collect();
    serde_json::to_string_pretty(&all).unwrap_or_else(|e| e.to_string())
}

fn blob(kind: &str, text: &str) -> std::result::Result<web_sys::Blob, wasm_bindgen::JsValue> {
    let options = web_sys::BlobPropertyBag::new();
    options.set_type(kind);
    let parts = js_sys::Array::of1(&wasm_bindgen::JsValue::from_str(text));
    web_sys::Blob::new_with_str_sequence_and_options(&parts, &options)
}

/// Hands a file to the browser to save.
fn save(name: &str, file: &web_sys::Blob, problem: RwSignal<Option<String>>) {
    let saved = (|| {
        let address = web_sys::Url::create_object_url_with_blob(file)?;
        let link: web_sys::HtmlAnchorElement = document().create_element("a")?.unchecked_into();
        link.set_href(&address);
        link.set_download(name);
        link.click();
        web_sys::Url::revoke_object_url(&address)
    })();
    problem.set(saved.err().map(|_: wasm_bindgen::JsValue| "The browser refused the file".to_owned()));
}
