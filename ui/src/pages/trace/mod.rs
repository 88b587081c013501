//! `/trace/:id`: one trace, by its id alone. Header, minimap, waterfall, flame graph, its logs and its spans as a table; a drawer
//! shows the chosen span.

mod drawer;
mod flame;
mod logs;
mod minimap;
mod table;
mod waterfall;

use std::collections::HashSet;
use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use orrery_api::{SpanNode, Trace as Answer};

use crate::context::{Context, use_app};
use crate::fetch::fetch;
use crate::format;
use crate::instant;
use crate::parts::copy::Copy;
use crate::parts::icon::{Icon, icon};
use crate::parts::receipt::receipt;
use crate::parts::service::service_name;
use crate::parts::state::answer;
use crate::range::TimeRange;
use crate::waterfall::{self as layout, View};

/// What is shown on either side of a trace when the time range goes to it.
const AROUND: i64 = 15 * instant::MINUTE;

/// What the parts of the page share.
#[derive(Clone, Copy)]
pub struct Shared {
    pub trace: StoredValue<Arc<Answer>>,
    pub collapsed: RwSignal<HashSet<usize>>,
    /// The part of the trace that is drawn.
    pub view: RwSignal<View>,
    pub whole: View,
    /// The width of a level of the tree, in pixels.
    pub indent: f64,
    /// The span of the address.
    pub chosen: Memo<Option<usize>>,
    /// Spans that the search finds, in preorder.
    pub found: Memo<Arc<Vec<usize>>>,
    pub search: RwSignal<String>,
}

impl Shared {
    fn new(app: Context, trace: Arc<Answer>) -> Shared {
        let whole = View::whole(&trace.spans);
        let indent = waterfall::indent(&trace.spans);
        let trace = StoredValue::new(trace);
        let param = app.param("span");
        let search = RwSignal::new(String::new());
        Shared {
            trace,
            collapsed: RwSignal::new(HashSet::new()),
            view: RwSignal::new(whole),
            whole,
            indent,
            chosen: Memo::new(move |_| param.get().and_then(|key| trace.with_value(|t| position(&t.spans, &key)))),
            found: Memo::new(move |_| Arc::new(search.with(|s| trace.with_value(|t| layout::matches(&t.spans, s))))),
            search,
        }
    }

    /// Chooses a span, opening what hides it.
    pub fn choose(&self, app: Context, index: Option<usize>) {
        let key = index.map(|i| {
            self.trace.with_value(|t| {
                let hidden = layout::ancestors(&t.spans, i);
                if self.collapsed.with_untracked(|c| hidden.iter().any(|a| c.contains(a))) {
                    self.collapsed.update(|c| {
                        hidden.iter().for_each(|a| {
                            c.remove(a);
                        })
                    });
                }
                key(&t.spans, i)
            })
        });
        app.replace(&[("span", key.as_deref())]);
    }

    /// A span as the address names it, and back.
    fn key(&self, index: usize) -> String {
        self.trace.with_value(|t| key(&t.spans, index))
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.trace.with_value(|t| position(&t.spans, key))
    }

    /// The operation and the service of a span.
    fn named(&self, index: usize) -> (String, String) {
        self.trace.with_value(|t| (t.spans[index].name.clone(), t.spans[index].service_name.clone()))
    }

    /// The next or the previous span that the search finds.
    fn next_found(&self, app: Context, back: bool) {
        self.next_of(app, &self.found.get_untracked(), back);
    }

    /// The next span that is so, from the chosen one on.
    fn next_where(&self, app: Context, so: fn(&SpanNode) -> bool) {
        let found: Vec<usize> =
            self.trace.with_value(|t| t.spans.iter().enumerate().filter(|(_, s)| so(s)).map(|(i, _)| i).collect());
        self.next_of(app, &found, false);
    }

    fn next_of(&self, app: Context, found: &[usize], back: bool) {
        let at = self.chosen.get_untracked();
        let next = match (back, at) {
            (false, Some(at)) => found.iter().find(|f| **f > at).or(found.first()),
            (false, None) => found.first(),
            (true, Some(at)) => found.iter().rev().find(|f| **f < at).or(found.last()),
            (true, None) => found.last(),
        };
        if let Some(next) = next {
            self.choose(app, Some(*next));
        }
    }
}

/// A span in the address: its id, and its kind too where an earlier span has the same id.
fn key(spans: &[SpanNode], index: usize) -> String {
    let span = &spans[index];
    match spans.iter().position(|s| s.span_id == span.span_id) {
        Some(first) if first != index => format!("{}.{}", span.span_id, span.kind),
        _ => span.span_id.clone(),
    }
}

fn position(spans: &[SpanNode], key: &str) -> Option<usize> {
    match key.split_once('.') {
        Some((id, kind)) => spans.iter().position(|s| s.span_id == id && s.kind == kind),
        None => spans.iter().position(|s| s.span_id == key),
    }
}

#[component]
pub fn Trace() -> impl IntoView {
    let app = use_app();
    let params = use_params_map();
    let id = Memo::new(move |_| params.with(|p| p.get("id").unwrap_or_default()));
    let trace = fetch::<Answer>(move || Some(format!("/api/v1/traces/{}", crate::address::encode(&id.get()))));
    view! {
        {move || match trace.failure.get() {
            Some(failure) if failure.status == 404 => view! {
                <div class="state">
                    <span class="state-icon">{icon(Icon::Search)}</span>
                    <h1>"There is no such trace"</h1>
                    <p>{format!("No span of trace {} is stored. It may not have arrived yet, or was not sampled.", id.get())}</p>
                    <div class="state-actions">
                        <button type="button" class="button primary" on:click=move |_| trace.retry()>"Look again"</button>
                        <a class="button" href=move || app.link("/traces", &[])>"Search traces"</a>
                    </div>
                </div>
            }.into_any(),
            _ => answer(trace, move |data| view! { <Body data/> }).into_any(),
        }}
    }
}

#[component]
fn Body(data: Arc<Answer>) -> impl IntoView {
    let app = use_app();
    let shared = Shared::new(app, data.clone());
    let tab = app.param("tab");
    let at = move || tab.get().unwrap_or_else(|| "waterfall".to_owned());
    let tabs = [
        ("waterfall", "Waterfall".to_owned()),
        ("flame", "Flame".to_owned()),
        ("logs", format!("Logs {}", format::count(data.logs))),
        ("table", "Table".to_owned()),
    ];
    let cost = data.receipt.clone();
    view! {
        <div class="trace-page" class:with-drawer=move || shared.chosen.get().is_some()>
            <div class="trace-main">
                <Header data=data.clone() shared/>
                <div class="tab-row">
                    <div class="tabs" role="tablist" aria-label="Views of the trace">
                        {tabs.into_iter().map(|(value, title)| view! {
                            <button type="button" role="tab" class="tab" aria-selected=move || (at() == value).to_string()
                                on:click=move |_| app.replace(&[("tab", (value != "waterfall").then_some(value))])>{title}</button>
                        }).collect_view()}
                    </div>
                    <span class="grow"></span>
                    <Show when=move || at() == "waterfall"><Search shared/></Show>
                </div>
                {move || match at().as_str() {
                    "flame" => view! { <flame::Flame shared/> }.into_any(),
                    "logs" => view! { <logs::TraceLogs shared/> }.into_any(),
                    "table" => view! { <table::Table shared/> }.into_any(),
                    _ => view! { <minimap::Minimap shared/> <waterfall::Waterfall shared/> }.into_any(),
                }}
                {receipt(&cost)}
            </div>
            {move || shared.chosen.get().map(|index| view! { <drawer::Drawer shared index/> })}
        </div>
    }
}

#[component]
fn Header(data: Arc<Answer>, shared: Shared) -> impl IntoView {
    let app = use_app();
    let root = data.spans.first();
    let (service, name) = root.map(|r| (r.service_name.clone(), r.name.clone())).unwrap_or_default();
    let missing = data.spans.iter().filter(|s| s.missing_parent).count();
    let skewed = data.spans.iter().filter(|s| s.clock_skew).count();
    let start = instant::parse(&data.start).unwrap_or_default();
    let around = TimeRange::Between(start - AROUND, start.saturating_add(data.duration_ns).saturating_add(AROUND));
    let elsewhere = move || !app.window.with(|w| (w.start..w.end).contains(&start));
    let services = data.services.len();
    let failed = |s: &SpanNode| s.status_code == "ERROR";
    view! {
        <header class="page-head trace-head">
            <div class="row">
                <h1 class="row"><span class="muted">{service_name(&service)}</span><span class="clip">{name}</span></h1>
                <span class="grow"></span>
                <code class="id">{data.trace_id.clone()}</code>
                <Copy text=data.trace_id.clone() what="trace id"/>
                <a class="button" href=move || app.link("/traces", &[])>"All traces"</a>
            </div>
            <div class="row facts-line">
                <span><b title=format::duration_exact(data.duration_ns)>{format::duration(data.duration_ns)}</b></span>
                <span title=data.start.clone()>{format!("{} UTC", instant::short_millis(start))}</span>
                <span><b>{format::count(data.spans.len() as u64)}</b>" spans"</span>
                <span title=data.services.join(", ")><b>{services}</b>{if services == 1 { " service" } else { " services" }}</span>
                {if data.errors == 0 {
                    view! { <span><b>"0"</b>" errors"</span> }.into_any()
                } else {
                    view! {
                        <button type="button" class="link error-text" title="Go to the next span that failed" on:click=move |_| shared.next_where(app, failed)>
                            {icon(Icon::Error)}<span><b>{format::count(data.errors)}</b>{if data.errors == 1 { " error" } else { " errors" }}</span>
                        </button>
                    }.into_any()
                }}
                <span class="badge" class:warn={data.completeness < 1.0} title="The share of spans with a parent whose parent is in the trace">
                    {format!("{} complete", format::share(data.completeness))}
                </span>
                {(missing > 0).then(|| view! {
                    <button type="button" class="badge warn" title="Go to the next of them" on:click=move |_| shared.next_where(app, |s| s.missing_parent)>
                        {icon(Icon::Warning)}{format!("{missing} without their parent")}
                    </button>
                })}
                {(skewed > 0).then(|| view! {
                    <button type="button" class="badge warn" title="Go to the next of them" on:click=move |_| shared.next_where(app, |s| s.clock_skew)>
                        {icon(Icon::Clock)}{format!("{skewed} with a skewed clock")}
                    </button>
                })}
                <Show when=elsewhere>
                    <button type="button" class="button small" title="The trace lies outside the time range that the other pages show" on:click=move |_| app.set_range(around)>
                        {icon(Icon::Clock)}"Go to its time"
                    </button>
                </Show>
            </div>
        </header>
    }
}

#[component]
fn Search(shared: Shared) -> impl IntoView {
    let app = use_app();
    let spans = shared.trace.with_value(|t| t.spans.len());
    let keydown = move |event: web_sys::KeyboardEvent| {
        // Letters typed here are no commands of the waterfall.
        event.stop_propagation();
        match event.key().as_str() {
            "Enter" => shared.next_found(app, event.shift_key()),
            "Escape" => shared.search.set(String::new()),
            _ => {}
        }
    };
    let all_closed = move |_| {
        shared.trace.with_value(|t| shared.collapsed.set(layout::deeper_than(&t.spans, 1)));
    };
    view! {
        <div class="row trace-tools">
            <span class="muted" aria-live="polite">{move || (!shared.search.with(String::is_empty)).then(|| format!("{} of {spans}", shared.found.with(|f| f.len())))}</span>
            <input class="search" type="search" aria-label="Search in the spans" placeholder="Search spans" prop:value=move || shared.search.get()
                on:input=move |event| shared.search.set(event_target_value(&event)) on:keydown=keydown/>
            <button type="button" class="button" on:click=move |_| shared.collapsed.set(HashSet::new())>"Expand"</button>
            <button type="button" class="button" on:click=all_closed>"Collapse"</button>
            <Show when=move || shared.view.get() != shared.whole>
                <button type="button" class="button" on:click=move |_| shared.view.set(shared.whole)>{icon(Icon::Fit)}"Whole trace"</button>
            </Show>
        </div>
    }
}
