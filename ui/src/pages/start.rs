//! `/` and `/start`: how to point an exporter here, whether anything has arrived, and what the server holds.

mod lake;

use std::time::Duration;

use leptos::prelude::*;
use orrery_api::{Status, TableStatus};

use crate::context::use_app;
use crate::fetch::{Fetched, fetch};
use crate::parts::copy::Copy;
use crate::parts::icon::{Icon, icon};
use crate::{format, instant, setup};

/// How often the page looks whether something has arrived.
const LOOK: Duration = Duration::from_secs(1);

/// `/`: the services where there is data, else the set-up.
#[component]
pub fn Home() -> impl IntoView {
    let app = use_app();
    let status = fetch::<Status>(|| Some("/api/v1/status".to_owned()));
    Effect::new(move |_| {
        let failed = status.failure.get().is_some();
        if let Some(status) = status.data.get() {
            let to = if rows(&status, "spans") > 0 { "/services" } else { "/start" };
            app.go(&app.link(to, &[]), true);
        } else if failed {
            app.go(&app.link("/start", &[]), true);
        }
    });
    view! { <p class="pad faint" role="status">"Loading…"</p> }
}

fn rows(status: &Status, table: &str) -> u64 {
    status.tables.iter().find(|t| t.name == table).map_or(0, |t| t.rows)
}

#[component]
pub fn Start() -> impl IntoView {
    let status = fetch::<Status>(|| Some("/api/v1/status".to_owned()));
    status.retry_every(LOOK);
    view! {
        <div class="start">
            <header class="page-head">
                <h1>"Send telemetry here"</h1>
                <p class="muted">"Orrery takes traces, logs and metrics by OTLP. Point any OpenTelemetry exporter or Collector at it; nothing else is needed."</p>
            </header>
            <Arrival status/>
            <div class="start-columns">
                <Guides status/>
                <div class="start-side">
                    <Server status/>
                    <lake::Lake status/>
                </div>
            </div>
        </div>
    }
}

/// The line that turns live.
#[component]
fn Arrival(status: Fetched<Status>) -> impl IntoView {
    let app = use_app();
    let spans = Memo::new(move |_| status.data.with(|s| s.as_ref().map(|s| rows(s, "spans"))));
    let others =
        Memo::new(move |_| status.data.with(|s| s.as_ref().map_or(0, |s| rows(s, "logs") + rows(s, "metrics"))));
    let down = Memo::new(move |_| status.failure.get().is_some());
    view! {
        <div class="arrival" class:live=move || spans.get().is_some_and(|n| n > 0) class:down=move || down.get() role="status">
            <span class="pulse" aria-hidden="true"></span>
            {move || match (down.get(), spans.get()) {
                (true, _) => view! { <span>"The server cannot be reached. Trying again every second…"</span> }.into_any(),
                (_, None) => view! { <span>"Looking for spans…"</span> }.into_any(),
                (_, Some(0)) if others.get() > 0 => view! {
                    <span>"waiting for the first span…"</span>
                    <span class="muted">{move || format!("{} log records and metric points have arrived", format::count(others.get()))}</span>
                }.into_any(),
                (_, Some(0)) => view! { <span>"waiting for the first span…"</span> }.into_any(),
                (_, Some(_)) => view! {
                    <span>{icon(Icon::Check)}<b>{move || format::count(spans.get().unwrap_or_default())}</b>" spans have arrived"</span>
                    <span class="grow"></span>
                    <a class="button primary" href=move || app.link("/services", &[])>"Services"</a>
                    <a class="button" href=move || app.link("/traces", &[])>"Traces"</a>
                    <a class="button" href=move || app.link("/map", &[])>"Map"</a>
                }.into_any(),
            }}
        </div>
    }
}

#[component]
fn Guides(status: Fetched<Status>) -> impl IntoView {
    let app = use_app();
    let chosen = app.param("guide");
    // The addresses alone, so that a look every second does not build the page anew.
    let addresses = Memo::new(move |_| {
        status
            .data
            .with(|s| s.as_ref().map(|s| (s.otlp_grpc.clone(), s.otlp_http.clone())))
            .unwrap_or_else(|| ("127.0.0.1:4317".to_owned(), "127.0.0.1:4318".to_owned()))
    });
    let guides = move || addresses.with(|(grpc, http)| setup::guides(&setup::reachable(grpc), &setup::reachable(http)));
    let current = move || chosen.get().unwrap_or_else(|| "env".to_owned());
    view! {
        <section class="panel guides" aria-label="Set-up">
            <div class="tabs" role="tablist" aria-label="Language">
                {move || guides().into_iter().map(|guide| {
                    let id = guide.id;
                    view! {
                        <button type="button" role="tab" class="tab" aria-selected=move || (current() == id).to_string()
                            on:click=move |_| app.replace(&[("guide", Some(id))])>{guide.title}</button>
                    }
                }).collect_view()}
            </div>
            {move || guides().into_iter().find(|g| g.id == current()).map(|guide| view! {
                <div role="tabpanel" aria-label=guide.title>
                    {guide.steps.into_iter().map(|(sentence, text)| view! {
                        <p>{sentence}</p>
                        <div class="snippet"><pre class="mono" tabindex="0" aria-label="Text to copy">{text.clone()}</pre><Copy text=text what="text"/></div>
                    }).collect_view()}
                </div>
            })}
            <p class="muted">"No program at hand? "<code>"orrery demo"</code>" starts a small live shop that sends here, and "<code>"orrery import FILE…"</code>" reads OTLP/JSON lines."</p>
        </section>
    }
}

/// What the server holds.
#[component]
fn Server(status: Fetched<Status>) -> impl IntoView {
    view! {
        <section class="panel server" aria-label="This server">
            <h2>"This server"</h2>
            {move || match (status.data.get(), status.failure.get()) {
                (Some(status), _) => view! {
                    <table class="grid small">
                        <thead><tr><th scope="col">"Table"</th><th scope="col" class="figure">"Rows"</th><th scope="col" class="figure">"Rate"</th><th scope="col" class="figure">"On disk"</th></tr></thead>
                        <tbody>{status.tables.iter().map(table_row).collect_view()}</tbody>
                    </table>
                    <dl class="facts">
                        <div><dt>"Ingest"</dt><dd class:error-text=status.ingest != "ok">{status.ingest.clone()}</dd></div>
                        <div><dt>"OTLP/gRPC"</dt><dd class="mono">{status.otlp_grpc.clone()}</dd></div>
                        <div><dt>"OTLP/HTTP"</dt><dd class="mono">{status.otlp_http.clone()}</dd></div>
                        <div><dt>"Data"</dt><dd class="mono">{status.data_dir.clone()}</dd></div>
                        <div><dt>"In memory"</dt><dd>{format::bytes(status.memtable_bytes)}</dd></div>
                        <div><dt>"Log"</dt><dd>{format::bytes(status.wal_bytes)}</dd></div>
                        <div><dt>"Free"</dt><dd>{format::bytes(status.free_bytes)}</dd></div>
                        <div><dt>"Up"</dt><dd>{format::duration((status.uptime_s as i64).saturating_mul(instant::SECOND))}</dd></div>
                        <div><dt>"Version"</dt><dd>{status.version.clone()}</dd></div>
                    </dl>
                }.into_any(),
                (None, Some(failure)) => view! { <p class="error-text">{failure.message}</p> }.into_any(),
                (None, None) => view! { <p class="faint">"Loading…"</p> }.into_any(),
            }}
        </section>
    }
}

fn table_row(table: &TableStatus) -> impl IntoView + use<> {
    let rate = format!("{}/s", format::number((table.rows_per_second * 10.0).round() / 10.0));
    view! {
        <tr>
            <th scope="row">{table.name.clone()}</th>
            <td class="figure" title=format::grouped(table.rows as i64)>{format::count(table.rows)}</td>
            <td class="figure">{rate}</td>
            <td class="figure">{format::bytes(table.file_bytes)}</td>
        </tr>
    }
}
