//! `/services`: every service of the window in a dense table.

mod detail;

use std::cmp::Ordering;
use std::sync::Arc;

use leptos::prelude::*;
use orrery_api::{Service, Services as Answer};

pub use detail::Detail;

use crate::context::use_app;
use crate::fetch::fetch;
use crate::format;
use crate::instant;
use crate::parts::alert::service_badge;
use crate::parts::icon::{Icon, icon};
use crate::parts::receipt::receipt;
use crate::parts::service::service_link;
use crate::parts::sort::{self, Header};
use crate::parts::spark::spark;
use crate::parts::state::{NothingHere, answer, nothing};

#[component]
pub fn Services() -> impl IntoView {
    let app = use_app();
    let services = fetch::<Answer>(move || Some(app.ask(None).href("/api/v1/services")));
    let find = app.param("find");
    let count = move || services.data.get().map(|s| s.services.len());
    view! {
        <header class="page-head row">
            <h1>"Services"</h1>
            <span class="count">{move || count().map(|n| n.to_string())}</span>
            <span class="grow"></span>
            <input class="search" type="search" aria-label="Find a service" placeholder="Find" prop:value=move || find.get().unwrap_or_default()
                on:input=move |event| app.replace(&[("find", Some(&event_target_value(&event)))])/>
        </header>
        {answer(services, move |data| {
            if data.services.is_empty() {
                return view! { <NothingHere table="spans" filtered=Signal::derive(move || app.environment.get().is_some() || app.namespace.get().is_some())/> {receipt(&data.receipt)} }.into_any();
            }
            view! { <List data=data.clone()/> {receipt(&data.receipt)} }.into_any()
        })}
    }
}

#[component]
fn List(data: Arc<Answer>) -> impl IntoView {
    let app = use_app();
    let sort = sort::current(app, "-calls");
    let find = app.param("find");
    let window = app.window.get_untracked().length();
    let columns = Columns {
        errors: data.services.iter().any(|s| s.errors > 0),
        version: data.services.iter().any(|s| !s.versions.is_empty()),
        environment: data.services.iter().any(|s| !s.environments.is_empty()),
    };
    let rows = move || {
        let wanted = find.get().unwrap_or_default().to_lowercase();
        let mut shown: Vec<Service> =
            data.services.iter().filter(|s| s.id.to_lowercase().contains(&wanted)).cloned().collect();
        sort.with(|(by, down)| {
            shown.sort_by(|a, b| {
                let order = compare(a, b, by);
                if *down { order.reverse() } else { order }.then_with(|| a.id.cmp(&b.id))
            });
        });
        shown
    };
    view! {
        <div class="table-wrap">
            <table class="grid services">
                <thead><tr>
                    <th scope="col" class="health"><span class="hidden">"Health"</span></th>
                    <Header sort column="name" title="Service"/>
                    <Header sort column="calls" title="Rate" figure=true/>
                    <th scope="col" class="spark-cell"><span class="hidden">"Calls over time"</span></th>
                    <Header sort column="errors" title="Errors" figure=true/>
                    {columns.errors.then(|| view! { <th scope="col" class="spark-cell"><span class="hidden">"Errors over time"</span></th> })}
                    <Header sort column="p50" title="p50" figure=true quiet=true/>
                    <Header sort column="p95" title="p95" figure=true/>
                    <Header sort column="p99" title="p99" figure=true quiet=true/>
                    <Header sort column="spans" title="Spans" figure=true quiet=true/>
                    <Header sort column="instances" title="Instances" figure=true quiet=true/>
                    {columns.version.then(|| view! { <th scope="col" class="quiet-cell">"Version"</th> })}
                    {columns.environment.then(|| view! { <th scope="col" class="quiet-cell">"Environment"</th> })}
                    <th scope="col" class="quiet-cell">"Last seen"</th>
                </tr></thead>
                <tbody>{
                    let rows = rows.clone();
                    move || rows().into_iter().map(|s| row(&s, window, columns)).collect_view()
                }</tbody>
            </table>
            {move || rows().is_empty().then(|| nothing("No service has that in its name", "Clear the search to see all of them."))}
        </div>
    }
}

fn compare(a: &Service, b: &Service, by: &str) -> Ordering {
    let share = |s: &Service| s.errors as f64 / s.calls.max(1) as f64;
    match by {
        "name" => a.id.cmp(&b.id),
        "errors" => share(a).total_cmp(&share(b)),
        "p50" => a.p50_ns.cmp(&b.p50_ns),
        "p95" => a.p95_ns.cmp(&b.p95_ns),
        "p99" => a.p99_ns.cmp(&b.p99_ns),
        "spans" => a.spans.cmp(&b.spans),
        "instances" => a.instances.cmp(&b.instances),
        _ => a.calls.cmp(&b.calls),
    }
}

/// A service's state by its errors: CSS class, icon and word.
pub fn health(errors: u64, calls: u64) -> (&'static str, Icon, &'static str) {
    let share = errors as f64 / calls.max(1) as f64;
    if share >= 0.05 {
        ("error", Icon::Error, "failing: at least 5 % errors")
    } else if share >= 0.01 {
        ("warn", Icon::Warning, "degraded: at least 1 % errors")
    } else {
        ("ok", Icon::Check, "healthy: under 1 % errors")
    }
}

/// Columns that something stands in.
#[derive(Clone, Copy)]
struct Columns {
    errors: bool,
    version: bool,
    environment: bool,
}

fn row(s: &Service, window: i64, columns: Columns) -> impl IntoView + use<> {
    let (class, which, word) = health(s.errors, s.calls);
    let last = instant::parse(&s.last_seen).map(instant::short).unwrap_or_default();
    let errors = s.errors > 0;
    view! {
        <tr>
            <td class=format!("health {class}") title=word>{icon(which)}<span class="hidden">{word}</span></td>
            <th scope="row"><span class="row">{service_link(&s.id)}{service_badge(&s.id)}</span></th>
            <td class="figure" title=format!("{} calls", format::grouped(s.calls as i64))>{format::rate(s.calls, window)}</td>
            <td class="spark-cell">{spark(&s.calls_over_time, false)}</td>
            <td class="figure" class:error-text=errors class:faint=!errors title=format!("{} errors", format::grouped(s.errors as i64))>{format::error_share(s.errors, s.calls)}</td>
            {columns.errors.then(|| view! { <td class="spark-cell">{errors.then(|| spark(&s.errors_over_time, true))}</td> })}
            <td class="figure quiet-cell" title=format::duration_exact(s.p50_ns)>{format::duration(s.p50_ns)}</td>
            <td class="figure" title=format::duration_exact(s.p95_ns)>{format::duration(s.p95_ns)}</td>
            <td class="figure quiet-cell" title=format::duration_exact(s.p99_ns)>{format::duration(s.p99_ns)}</td>
            <td class="figure quiet-cell" title=format::grouped(s.spans as i64)>{format::count(s.spans)}</td>
            <td class="figure quiet-cell">{s.instances}</td>
            {columns.version.then(|| view! { <td class="muted clip-cell quiet-cell" title=s.versions.join(", ")>{s.versions.join(", ")}</td> })}
            {columns.environment.then(|| view! { <td class="muted clip-cell quiet-cell">{s.environments.join(", ")}</td> })}
            <td class="muted nowrap quiet-cell">{last}</td>
        </tr>
    }
}
