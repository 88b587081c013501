//! The waterfall: a tree of which only the rows in view are in the document. Arrow keys, J and K move, Left and Right
//! close and open.

use std::sync::Arc;

use leptos::html;
use leptos::prelude::*;
use orrery_api::SpanNode;

use super::Shared;
use crate::colour;
use crate::context::use_app;
use crate::format;
use crate::parts::icon::{Icon, icon};
use crate::parts::service::service_text;
use crate::waterfall::{self as layout, ROW, View};

/// How far a level is indented, and all levels together; a deep tree has narrower ones.
const INDENT: f64 = 14.0;
const ALL_INDENTS: f64 = 170.0;

/// The least width between two ticks, and what a label takes.
const TICK: f64 = 80.0;
const LABEL: f64 = 44.0;

#[component]
pub fn Waterfall(shared: Shared) -> impl IntoView {
    let app = use_app();
    let rows = Memo::new(move |_| {
        Arc::new(shared.collapsed.with(|c| shared.trace.with_value(|t| layout::visible(&t.spans, c))))
    });
    let body = NodeRef::<html::Div>::new();
    let scroll = RwSignal::new(0.0_f64);
    let size = crate::parts::size::use_size(body);
    let in_view = Memo::new(move |_| layout::rows_in_view(scroll.get(), size.get().1, ROW, rows.with(|r| r.len())));
    let axis = NodeRef::<html::Div>::new();
    let axis_size = crate::parts::size::use_size(axis);
    let most_ticks = Memo::new(move |_| ((axis_size.get().0 / TICK) as usize).clamp(1, 6));
    // The chosen row is brought into view.
    Effect::new(move |_| {
        let Some(index) = shared.chosen.get() else { return };
        let Some(row) = rows.with(|r| r.binary_search(&index).ok()) else { return };
        let Some(body) = body.get() else { return };
        let (top, height) = (row as f64 * ROW, size.get_untracked().1.max(ROW * 3.0));
        let at = f64::from(body.scroll_top());
        if top < at || top + ROW > at + height {
            body.set_scroll_top((top - height / 3.0).max(0.0) as i32);
        }
    });
    let move_by = move |step: isize| {
        let rows = rows.get_untracked();
        let at = shared.chosen.get_untracked().and_then(|i| rows.binary_search(&i).ok());
        let next = match at {
            Some(at) => at.saturating_add_signed(step).min(rows.len().saturating_sub(1)),
            None => 0,
        };
        shared.choose(app, rows.get(next).copied());
    };
    let keydown = move |event: web_sys::KeyboardEvent| {
        if event.ctrl_key() || event.meta_key() || event.alt_key() {
            return;
        }
        let page = (size.get_untracked().1 / ROW) as isize - 1;
        match event.key().as_str() {
            "j" | "J" | "ArrowDown" => move_by(1),
            "k" | "K" | "ArrowUp" => move_by(-1),
            "PageDown" => move_by(page),
            "PageUp" => move_by(-page),
            "Home" => shared.choose(app, rows.with_untracked(|r| r.first().copied())),
            "End" => shared.choose(app, rows.with_untracked(|r| r.last().copied())),
            "ArrowLeft" => close_or_leave(shared, app),
            "ArrowRight" => open_or_enter(shared, app),
            "Escape" => shared.choose(app, None),
            _ => return,
        }
        event.prevent_default();
    };
    view! {
        <div class="waterfall">
            <div class="waterfall-head">
                <div class="names row"><span class="grow clip">"Service and operation"</span><span class="critical-key">"critical path"</span></div>
                <div class="times" node_ref=axis>{move || ticks(shared.view.get(), most_ticks.get(), Some(axis_size.get().0))}</div>
            </div>
            <div class="waterfall-body" node_ref=body role="tree" tabindex="0" aria-label="Spans"
                aria-activedescendant=move || shared.chosen.get().map(|i| format!("span-{i}"))
                on:scroll=move |_| if let Some(body) = body.get_untracked() { scroll.set(f64::from(body.scroll_top())) }
                on:keydown=keydown>
                <div class="waterfall-all" role="presentation" style:height=move || format!("{}px", rows.with(|r| r.len()) as f64 * ROW)>
                    <div class="grid-lines" aria-hidden="true">{move || ticks(shared.view.get(), most_ticks.get(), None)}</div>
                    <For
                        each=move || {
                            let rows = rows.get();
                            in_view.get().map(|row| (row, rows[row.min(rows.len() - 1)])).collect::<Vec<_>>()
                        }
                        key=|pair| *pair
                        children=move |(row, index)| shared.trace.with_value(|t| span_row(shared, row, index, &t.spans[index]).into_any())
                    />
                </div>
            </div>
        </div>
    }
}

/// Closes the chosen span, or goes to its parent where it is closed or has no children.
fn close_or_leave(shared: Shared, app: crate::context::Context) {
    let Some(at) = shared.chosen.get_untracked() else { return };
    let (children, parent) =
        shared.trace.with_value(|t| (t.spans[at].subtree > 1, layout::ancestors(&t.spans, at).first().copied()));
    if children && !shared.collapsed.with_untracked(|c| c.contains(&at)) {
        shared.collapsed.update(|c| {
            c.insert(at);
        });
    } else if parent.is_some() {
        shared.choose(app, parent);
    }
}

/// Opens the chosen span, or goes to its first child where it is open.
fn open_or_enter(shared: Shared, app: crate::context::Context) {
    let Some(at) = shared.chosen.get_untracked() else { return };
    if shared.collapsed.with_untracked(|c| c.contains(&at)) {
        shared.collapsed.update(|c| {
            c.remove(&at);
        });
    } else if shared.trace.with_value(|t| t.spans[at].subtree > 1) {
        shared.choose(app, Some(at + 1));
    }
}

/// The width of a level in a tree of that depth.
pub fn indent(spans: &[SpanNode]) -> f64 {
    let deepest = spans.iter().map(|s| s.depth).max().unwrap_or(0);
    (ALL_INDENTS / f64::from(deepest.max(1))).min(INDENT)
}

/// Lines at round times; over an axis of a given width with labels, where one does not reach over its end.
fn ticks(view: View, most: usize, axis: Option<f64>) -> impl IntoView {
    let fits = move |percent: f64| axis.is_some_and(|width| (100.0 - percent) / 100.0 * width > LABEL);
    let tick = move |(percent, offset): (f64, i64)| {
        let label = fits(percent).then(|| format::duration(offset));
        view! { <span class="tick" style:left=format!("{percent:.3}%")>{label}</span> }
    };
    view.ticks(most).into_iter().map(tick).collect_view()
}

fn span_row(shared: Shared, row: usize, index: usize, span: &SpanNode) -> impl IntoView + use<> {
    let app = use_app();
    let parent = span.subtree > 1;
    let closed = move || shared.collapsed.with(|c| c.contains(&index));
    let failed = span.status_code == "ERROR";
    let (indent, guides) =
        (format!("{:.1}px", f64::from(span.depth) * shared.indent), format!("{:.1}px 100%", shared.indent));
    let hidden_below = span.subtree - 1;
    let found = move || shared.search.with(|s| !s.is_empty()) && shared.found.with(|f| f.binary_search(&index).is_ok());
    let title = format!("{} · {}", span.service_name, span.name);
    let toggle = move |event: web_sys::MouseEvent| {
        event.stop_propagation();
        shared.collapsed.update(|c| {
            if !c.remove(&index) {
                c.insert(index);
            }
        });
    };
    view! {
        <div class="span-row" id=format!("span-{index}") role="treeitem"
            class:chosen=move || shared.chosen.get() == Some(index)
            class:found=found
            class:failed=failed
            attr:aria-level={span.depth + 1}
            aria-selected=move || (shared.chosen.get() == Some(index)).to_string()
            aria-expanded=move || parent.then(|| (!closed()).to_string())
            style:top=format!("{}px", row as f64 * ROW)
            on:click=move |_| shared.choose(app, Some(index))>
            <div class="names" title=title>
                <span class="indent" style:width=indent style:background-size=guides></span>
                {if parent {
                    view! { <span class="twist" on:click=toggle>{move || icon(if closed() { Icon::Right } else { Icon::Down })}</span> }.into_any()
                } else {
                    view! { <span class="twist"></span> }.into_any()
                }}
                <span class="stripe" style:background=colour::of_service(&span.service_name)></span>
                {failed.then(|| view! { <span class="error-text" title="error">{icon(Icon::Error)}</span> })}
                <span class="op">{span.name.clone()}</span>
                <span class="of">{service_text(&span.service_name)}</span>
                {move || closed().then(|| view! { <span class="badge">{format!("+{hidden_below}")}</span> })}
                {span.missing_parent.then(|| view! { <span class="badge warn" title="It names a parent that is not stored">{icon(Icon::Warning)}"no parent"</span> })}
                {span.clock_skew.then(|| view! { <span class="badge warn" title="It starts before its parent, or ends after it: a clock is off">{icon(Icon::Clock)}"skew"</span> })}
            </div>
            {bars(shared, span)}
        </div>
    }
}

/// The bar of a span: its whole length, its parts on the critical path, its events, its duration beside it.
fn bars(shared: Shared, span: &SpanNode) -> impl IntoView + use<> {
    let (offset, duration) = (span.offset_ns, span.duration_ns);
    let failed = span.status_code == "ERROR";
    let colour = colour::of_service(&span.service_name);
    let mut parts = span.critical_parts.clone();
    if parts.is_empty() && span.critical {
        parts.push((offset, duration));
    }
    let events: Vec<(i64, String)> = span.events.iter().map(|e| (e.offset_ns, e.name.clone())).take(40).collect();
    let label = format::duration(duration);
    let exact = format!("{}, self {}", format::duration_exact(duration), format::duration_exact(span.self_ns));
    view! {
        <div class="times" title=exact>
            {move || {
                let view = shared.view.get();
                let Some((left, width)) = view.place(offset, duration) else { return ().into_any() };
                // The duration stands behind the bar, before it, or in it, where there is room.
                let (side, at, place) = if left + width <= 86.0 {
                    ("left", left + width, "length")
                } else if left >= 14.0 {
                    ("right", 100.0 - left, "length")
                } else {
                    ("right", 100.0 - left - width, "length inside")
                };
                let at = format!("{at:.3}%");
                let (from_left, from_right) = if side == "left" { (at, "auto".to_owned()) } else { ("auto".to_owned(), at) };
                let critical = parts.iter().filter_map(|(at, length)| view.place(*at, *length)).map(|(l, w)| view! {
                    <span class="critical" style:left=format!("{l:.3}%") style:width=format!("{w:.3}%")></span>
                }).collect_view();
                let marks = events.iter().filter_map(|(at, name)| Some((view.place(*at, 0)?.0, name.clone()))).map(|(l, name)| view! {
                    <span class="event" style:left=format!("{l:.3}%") title=name></span>
                }).collect_view();
                view! {
                    <span class="bar" class:failed=failed style:left=format!("{left:.3}%") style:width=format!("{width:.3}%") style:background=colour.clone()></span>
                    {critical}
                    {marks}
                    <span class=place style:left=from_left style:right=from_right>{label.clone()}</span>
                }.into_any()
            }}
        </div>
    }
}
