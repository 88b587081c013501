//! What stands where an answer will be, could not be, or is empty: each says what to do next.

use std::sync::Arc;

use leptos::prelude::*;
use orrery_api::Status;

use super::icon::{Icon, icon};
use crate::context::use_app;
use crate::fetch::{Failure, Fetched, fetch};
use crate::instant;
use crate::range::TimeRange;

/// Shows an answer, or its loading, or its failure. The last answer stays, dimmed by the bar above it, while the next is
/// on its way.
pub fn answer<T, V>(fetched: Fetched<T>, show: impl Fn(Arc<T>) -> V + Send + Sync + 'static) -> impl IntoView
where
    T: Send + Sync + 'static,
    V: IntoView + 'static,
{
    view! {
        <Progress fetched/>
        {move || match (fetched.failure.get(), fetched.data.get()) {
            (Some(failure), _) => failed(failure, move || fetched.retry()).into_any(),
            (None, Some(data)) => show(data).into_any(),
            (None, None) => skeleton().into_any(),
        }}
    }
}

/// A thin bar while a request is under way, with the way to end it once it takes long.
#[component]
fn Progress<T: Send + Sync + 'static>(fetched: Fetched<T>) -> impl IntoView {
    view! {
        <div class="progress" class:on=move || fetched.loading.get() role="status" aria-live="off">
            <Show when=move || fetched.loading.get()>
                <button type="button" class="button small cancel" on:click=move |_| fetched.cancel()>"Cancel"</button>
            </Show>
        </div>
    }
}

/// Grey rows in the place of those to come.
pub fn skeleton() -> impl IntoView {
    view! {
        <div class="skeleton" role="status" aria-label="Loading">
            {(0..8).map(|_| view! { <div class="skeleton-row"></div> }).collect_view()}
        </div>
    }
}

/// A failure, its hint, and the way to try again.
pub fn failed(failure: Failure, retry: impl Fn() + 'static) -> impl IntoView {
    let app = use_app();
    let not_built = failure.status == 501;
    let by_filter = failure.code == "invalid_filter";
    view! {
        <div class="state" role="alert">
            <span class="state-icon" class:error=!not_built>{icon(if not_built { Icon::Warning } else { Icon::Error })}</span>
            <h2>{failure.message.clone()}</h2>
            {failure.hint.clone().map(|hint| view! { <p>{hint}</p> })}
            <div class="state-actions">
                {by_filter.then(|| view! { <button type="button" class="button primary" on:click=move |_| app.set(&[("filter", None)])>"Clear the filter"</button> })}
                <button type="button" class="button" on:click=move |_| retry()>"Try again"</button>
            </div>
        </div>
    }
}

/// Nothing to show, with a sentence on what to do.
pub fn nothing(title: &str, what_next: &str) -> impl IntoView + use<> {
    let (title, what_next) = (title.to_owned(), what_next.to_owned());
    view! { <div class="state"><span class="state-icon">{icon(Icon::Search)}</span><h2>{title}</h2><p>{what_next}</p></div> }
}

/// Nothing in the window: says where the table's data lies and offers to go there, or to set an exporter up.
#[component]
pub fn NothingHere(
    /// `spans`, `logs` or `metrics`.
    table: &'static str,
    /// Whether a filter of the page may be the reason.
    #[prop(into)]
    filtered: Signal<bool>,
) -> impl IntoView {
    let app = use_app();
    let status = fetch::<Status>(|| Some("/api/v1/status".to_owned()));
    let held = move || {
        let status = status.data.get()?;
        let table = status.tables.iter().find(|t| t.name == table && t.rows > 0)?.clone();
        Some((instant::parse(table.oldest.as_deref()?)?, instant::parse(table.newest.as_deref()?)?))
    };
    view! {
        <div class="state">
            <span class="state-icon">{icon(Icon::Search)}</span>
            <h2>{move || if filtered.get() { format!("No {table} match in this window") } else { format!("No {table} in this window") }}</h2>
            {move || match (held(), status.data.get().is_some()) {
                (Some((oldest, newest)), _) => {
                    let range = TimeRange::Between(oldest, newest.saturating_add(1));
                    view! {
                        <p>{format!("Stored {table} reach from {} to {} UTC.", instant::minute_text(oldest), instant::minute_text(newest))}</p>
                        <div class="state-actions">
                            <button type="button" class="button primary" on:click=move |_| app.set_range(range)>"Show all that is stored"</button>
                            <Show when=move || filtered.get()>
                                <button type="button" class="button" on:click=move |_| app.set(&[("filter", None), ("text", None), ("find", None), ("env", None), ("ns", None)])>"Clear the filter"</button>
                            </Show>
                        </div>
                    }.into_any()
                }
                (None, true) => view! {
                    <p>"Nothing has arrived yet."</p>
                    <div class="state-actions"><a class="button primary" href=move || app.link("/start", &[])>"Set up an exporter"</a></div>
                }.into_any(),
                (None, false) => view! { <p>"Widen the time range, or change the filter."</p> }.into_any(),
            }}
        </div>
    }
}
