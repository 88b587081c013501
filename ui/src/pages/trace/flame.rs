//! The flame graph: where the time of the trace went, by path. A press makes a frame as wide as the page; arrow keys go
//! from frame to frame, Escape goes back up.

use std::sync::Arc;

use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

use super::Shared;
use crate::colour;
use crate::context::use_app;
use crate::flame::{self, Drawn, Frame};
use crate::format;
use crate::parts::icon::{Icon, icon};
use crate::parts::service::service_name;
use crate::parts::size::use_size;

/// The height of a row, in CSS pixels.
const ROW: f64 = 22.0;
/// Frames at most: more would be narrower than what can be seen or pressed.
const MOST: usize = 1_200;

#[component]
pub fn Flame(shared: Shared) -> impl IntoView {
    let app = use_app();
    let frames = StoredValue::new(Arc::new(shared.trace.with_value(|t| flame::frames(&t.spans))));
    let param = app.param("frame");
    let focus = Memo::new(move |_| {
        let span = param.get().and_then(|key| shared.position(&key))?;
        frames.with_value(|f| f.iter().position(|f| f.longest == span))
    });
    let body = NodeRef::<html::Div>::new();
    let size = use_size(body);
    let drawn = Memo::new(move |_| {
        // What is narrower than a pixel is left out.
        let least = 100.0 / size.get().0.max(200.0);
        let mut drawn = frames.with_value(|f| flame::drawn(f, focus.get(), least));
        drawn.truncate(MOST);
        drawn
    });
    let go = move |index: Option<usize>| {
        let key = index.map(|i| shared.key(frames.with_value(|f| f[i].longest)));
        app.replace(&[("frame", key.as_deref())]);
    };
    let keydown = move |event: web_sys::KeyboardEvent| {
        let at = event
            .target()
            .and_then(|t| t.dyn_into::<web_sys::Element>().ok())
            .and_then(|e| e.id().strip_prefix("frame-")?.parse().ok());
        let Some(at) = at else { return };
        let next = drawn.with_untracked(|drawn| frames.with_value(|f| step(f, drawn, at, &event.key())));
        match (event.key().as_str(), next) {
            ("Escape", _) => go(focus.get_untracked().and_then(|i| frames.with_value(|f| f[i].parent))),
            (_, Some(next)) => focus_frame(next),
            _ => return,
        }
        event.prevent_default();
    };
    let height = move || {
        drawn.with(|d| frames.with_value(|f| d.iter().map(|(i, ..)| f[*i].depth + 1).max().unwrap_or(0))) as f64 * ROW
    };
    view! {
        <div class="flame">
            {move || frames.with_value(|f| summary(shared, f, focus.get(), drawn.with(Vec::len)))}
            <div class="flame-body" node_ref=body role="group" aria-label="Frames" on:keydown=keydown>
                <div class="flame-all" style:height=move || format!("{}px", height())>
                    <For each=move || drawn.get() key=|d| (d.0, d.1.to_bits(), d.2.to_bits())
                        children=move |drawn| frames.with_value(|f| frame(shared, f, drawn, focus, go))/>
                </div>
            </div>
        </div>
    }
}

fn frame(
    shared: Shared,
    frames: &[Frame],
    (index, left, width): Drawn,
    focus: Memo<Option<usize>>,
    go: impl Fn(Option<usize>) + 'static,
) -> AnyView {
    let this = &frames[index];
    let (name, service) = shared.named(this.longest);
    let title = format!(
        "{name} of {service}: {}, {} own, {}",
        format::duration(this.total_ns),
        format::duration(this.own_ns),
        spans(this.spans)
    );
    let failed = this.errors > 0;
    // One frame is in the order of Tab; the arrows lead to the others.
    let stop = move || if focus.get().unwrap_or(0) == index { "0" } else { "-1" };
    view! {
        <button type="button" class="frame" id=format!("frame-{index}") class:failed=failed tabindex=stop title=title.clone() aria-label=title
            style:top=format!("{}px", this.depth as f64 * ROW) style:left=format!("{left:.4}%") style:width=format!("{width:.4}%") style:background=colour::of_service(&service)
            on:click=move |_| { go(Some(index)); focus_frame(index); }>
            {failed.then(|| icon(Icon::Error))}{(width > 1.5).then_some(name)}
        </button>
    }
    .into_any()
}

/// What the frame that fills the page stands for.
fn summary(shared: Shared, frames: &[Frame], focus: Option<usize>, drawn: usize) -> impl IntoView + use<> {
    let app = use_app();
    let all: i64 = frames.iter().filter(|f| f.parent.is_none()).map(|f| f.total_ns).sum();
    let hidden = match focus.and_then(|i| frames.get(i)) {
        Some(f) => (f.below + 1 + f.depth).saturating_sub(drawn),
        None => frames.len().saturating_sub(drawn),
    };
    let narrow = (hidden > 0)
        .then(|| view! { <span class="faint">{format!("{} too narrow to draw", format::count(hidden as u64))}</span> });
    match focus.and_then(|i| frames.get(i)).cloned() {
        Some(this) => {
            let (name, service) = shared.named(this.longest);
            view! {
                <div class="row flame-head">
                    {service_name(&service)}<b class="clip">{name}</b>
                    <span class="muted" title=format::duration_exact(this.total_ns)>{format!("{}, {} of all", format::duration(this.total_ns), format::share(this.total_ns as f64 / all.max(1) as f64))}</span>
                    <span class="muted" title=format::duration_exact(this.own_ns)>{format!("{} own", format::duration(this.own_ns))}</span>
                    <span class="muted">{spans(this.spans)}</span>
                    {(this.errors > 0).then(|| view! { <span class="error-text">{icon(Icon::Error)}{format!("{} failed", this.errors)}</span> })}
                    {narrow}
                    <span class="grow"></span>
                    <button type="button" class="button small" on:click=move |_| shared.choose(app, Some(this.longest))>"Longest span"</button>
                    <button type="button" class="button small" on:click=move |_| app.replace(&[("frame", None)])>{icon(Icon::Fit)}"Whole trace"</button>
                </div>
            }
            .into_any()
        }
        None => view! {
            <div class="row flame-head">
                <span class="muted">"Spans of one path are one frame, as wide as the time spent in them and below; parallel work is added up."</span>{narrow}
            </div>
        }
        .into_any(),
    }
}

fn spans(count: usize) -> String {
    if count == 1 { "1 span".to_owned() } else { format!("{} spans", format::count(count as u64)) }
}

/// The frame that an arrow key leads to: below the widest child, above the parent, sideways the next of the same depth.
fn step(frames: &[Frame], drawn: &[Drawn], at: usize, key: &str) -> Option<usize> {
    let beside = |forward: bool| {
        let row: Vec<usize> = drawn.iter().map(|(i, ..)| *i).filter(|i| frames[*i].depth == frames[at].depth).collect();
        let here = row.iter().position(|i| *i == at)?;
        row.get(if forward { here + 1 } else { here.checked_sub(1)? }).copied()
    };
    match key {
        "ArrowDown" => drawn.iter().map(|(i, ..)| *i).find(|i| frames[*i].parent == Some(at)),
        "ArrowUp" => frames[at].parent,
        "ArrowRight" => beside(true),
        "ArrowLeft" => beside(false),
        _ => None,
    }
}

/// Once what has changed is in the document.
fn focus_frame(index: usize) {
    request_animation_frame(move || {
        let element = document().get_element_by_id(&format!("frame-{index}"));
        if let Some(element) = element.and_then(|e| e.dyn_into::<web_sys::HtmlElement>().ok()) {
            // Focus cannot fail on an element that is in the page.
            let _ = element.focus();
        }
    });
}
