//! The trace as tables: where its time went by service, and its slowest spans by their own time.

use leptos::prelude::*;

use super::Shared;
use crate::context::use_app;
use crate::format;
use crate::parts::icon::{Icon, icon};
use crate::parts::service::service_name;
use crate::waterfall::self_time_by_service;

/// Rows of the span table: those with the most time of their own.
const MOST: usize = 200;

#[component]
pub fn Table(shared: Shared) -> impl IntoView {
    let app = use_app();
    let (services, spans, total) = shared.trace.with_value(|t| {
        let mut order: Vec<usize> = (0..t.spans.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(t.spans[*i].self_ns));
        order.truncate(MOST);
        let rows: Vec<_> = order.into_iter().map(|i| (i, t.spans[i].clone())).collect();
        (self_time_by_service(&t.spans), rows, t.spans.len())
    });
    let all: i64 = services.iter().map(|s| s.1).sum::<i64>().max(1);
    let most = services.iter().map(|s| s.1).max().unwrap_or(1).max(1);
    view! {
        <section class="panel">
            <h2>"Own time by service"</h2>
            <table class="grid">
                <thead><tr><th scope="col">"Service"</th><th scope="col" class="figure">"Own time"</th><th scope="col" class="figure">"Share"</th><th scope="col" class="bar-cell"><span class="hidden">"Compared"</span></th><th scope="col" class="figure">"Spans"</th><th scope="col" class="figure">"Errors"</th></tr></thead>
                <tbody>{services.into_iter().map(|(name, ns, count, errors)| view! {
                    <tr>
                        <th scope="row">{service_name(&name)}</th>
                        <td class="figure" title=format::duration_exact(ns)>{format::duration(ns)}</td>
                        <td class="figure">{format::share(ns as f64 / all as f64)}</td>
                        <td class="bar-cell"><div class="bar" style:width=format!("{:.1}%", ns as f64 / most as f64 * 100.0)></div></td>
                        <td class="figure">{count}</td>
                        <td class="figure" class:error-text=errors != 0 class:faint=errors == 0>{errors}</td>
                    </tr>
                }).collect_view()}</tbody>
            </table>
        </section>
        <section class="panel">
            <h2>{if total > MOST { format!("The {MOST} spans with the most time of their own") } else { "Spans by their own time".to_owned() }}</h2>
            <table class="grid">
                <thead><tr><th scope="col">"Operation"</th><th scope="col">"Service"</th><th scope="col">"Kind"</th><th scope="col" class="figure">"Own time"</th><th scope="col" class="figure">"Duration"</th><th scope="col" class="figure">"Begins"</th></tr></thead>
                <tbody>{spans.into_iter().map(|(i, s)| view! {
                    <tr class:chosen=move || shared.chosen.get() == Some(i)>
                        <th scope="row"><button type="button" class="link clip" title=s.name.clone() on:click=move |_| shared.choose(app, Some(i))>{(s.status_code == "ERROR").then(|| icon(Icon::Error))}{s.name.clone()}</button></th>
                        <td>{service_name(&s.service_name)}</td>
                        <td class="muted">{s.kind.clone()}</td>
                        <td class="figure">{format::duration(s.self_ns)}</td>
                        <td class="figure">{format::duration(s.duration_ns)}</td>
                        <td class="figure muted">{format::duration(s.offset_ns)}</td>
                    </tr>
                }).collect_view()}</tbody>
            </table>
        </section>
    }
}
