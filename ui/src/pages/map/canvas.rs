//! The map drawn on a canvas: pan by dragging, zoom by the wheel, choose by a click. Keys: arrows pan, `+` and `-` zoom,
//! or widen the neighbourhood where a node is chosen. What it shows is in the table too.

use std::time::Duration;

use leptos::html;
use leptos::prelude::*;

use super::{Shared, choose};
use crate::alerts::use_alerts;
use crate::context::use_app;
use crate::map_view::{Hit, Point, Viewport, hit};
use crate::parts::chart::prepare;
use crate::parts::icon::{Icon, icon};
use crate::parts::size::use_size;

mod paint;
mod picture;

/// From so many edges on the map moves as a picture, and is painted anew once it has rested for so long.
const MANY: usize = 400;
const REST: Duration = Duration::from_millis(150);
/// A press that moves less than this is a click.
const CLICK: f64 = 4.0;

#[component]
pub fn Canvas(shared: Shared) -> impl IntoView {
    let (app, alerts) = (use_app(), use_alerts());
    let canvas = NodeRef::<html::Canvas>::new();
    let size = use_size(canvas);
    let viewport = RwSignal::new(None::<Viewport>);
    let over = RwSignal::new(None::<Hit>);
    let press = RwSignal::new(None::<(Point, Point, bool)>);
    let large = shared.graph.with_value(|g| g.edges.len() >= MANY);
    let picture = StoredValue::new_local(None::<picture::Picture>);
    let moving = RwSignal::new(None::<TimeoutHandle>);
    let move_to = move |change: &dyn Fn(Viewport) -> Viewport| {
        if large {
            let rest = move || {
                moving.try_set(None);
            };
            let before = moving.get_untracked();
            before.inspect(TimeoutHandle::clear);
            moving.set(set_timeout_with_handle(rest, REST).ok());
        }
        viewport.update(|v| *v = v.map(change));
    };
    let fit = move || {
        let (width, height) = size.get_untracked();
        shared.graph.with_value(|g| {
            let shown = shared.shown.get_untracked();
            let nodes: Vec<_> = g.nodes.iter().filter(|n| shown.contains(&n.id)).collect();
            viewport.set(Some(Viewport::fit(&nodes, width, height)));
        });
    };
    Effect::new(move |_| {
        if size.get().0 > 0.0 && viewport.with_untracked(Option::is_none) {
            fit();
        }
    });
    Effect::new(move |_| {
        app.theme.track();
        let (size, near, chosen, over, figure) =
            (size.get(), shared.near.get(), shared.chosen.get(), over.get(), shared.figure.get());
        let shown = shared.shown.get();
        let firing = alerts.by_service.get();
        let differences = shared.differences.get();
        let (Some(canvas), Some(viewport)) = (canvas.get(), viewport.get()) else { return };
        let moving = moving.with(Option::is_some);
        let Some(context) = prepare(&canvas, size) else { return };
        if moving && picture.with_value(|p| p.as_ref().map(|p| p.show(&context, size, viewport)).is_some()) {
            return;
        }
        let scene = paint::Scene {
            viewport,
            shown: &shown,
            near: near.as_deref(),
            chosen: chosen.as_ref(),
            over: over.as_ref(),
            figure,
            size,
            firing: &firing,
            differences: differences.as_ref().map(|d| d.as_slice()),
            window: app.window.get().length(),
        };
        shared.graph.with_value(|g| paint::paint(&context, g, &scene));
        if large {
            picture.set_value(picture::Picture::take(&canvas, viewport));
        }
    });
    let place = move |x: i32, y: i32| {
        let rect = canvas.get_untracked().map(|c| c.get_bounding_client_rect());
        rect.map_or(Point { x: 0.0, y: 0.0 }, |r| Point { x: f64::from(x) - r.left(), y: f64::from(y) - r.top() })
    };
    let under = move |at: Point| {
        let view = viewport.get_untracked()?;
        shared.graph.with_value(|g| hit(g, &shared.shown.get_untracked(), view.to_drawing(at), 7.0 / view.scale))
    };
    let moved = move |event: web_sys::PointerEvent| {
        let at = place(event.client_x(), event.client_y());
        match press.get_untracked() {
            Some((first, last, dragged)) => {
                let dragged = dragged || (at.x - first.x).abs() + (at.y - first.y).abs() > CLICK;
                if dragged {
                    move_to(&|v| v.moved(at.x - last.x, at.y - last.y));
                }
                press.set(Some((first, at, dragged)));
            }
            None => {
                let found = under(at);
                if over.with_untracked(|o| *o != found) {
                    over.set(found);
                }
            }
        }
    };
    let released = move |event: web_sys::PointerEvent| {
        let pressed = press.get_untracked();
        press.set(None);
        if let Some((_, _, false)) = pressed {
            choose(app, under(place(event.client_x(), event.client_y())).as_ref());
        }
    };
    let zoom = move |factor: f64, at: Option<Point>| {
        let (width, height) = size.get_untracked();
        let at = at.unwrap_or(Point { x: width / 2.0, y: height / 2.0 });
        move_to(&|v| v.zoomed(factor, at));
    };
    let hops = app.param("hops");
    let widen = move |by: i32| {
        let at: i32 = hops.get_untracked().and_then(|h| h.parse().ok()).unwrap_or(1);
        let next = (at + by).clamp(0, 9).to_string();
        app.replace(&[("hops", (next != "1").then_some(next.as_str()))]);
    };
    let on_node = move || matches!(shared.chosen.get_untracked(), Some(Hit::Node(_)));
    let keydown = move |event: web_sys::KeyboardEvent| {
        let pan = |dx: f64, dy: f64| move_to(&|v| v.moved(dx, dy));
        match event.key().as_str() {
            "ArrowLeft" => pan(60.0, 0.0),
            "ArrowRight" => pan(-60.0, 0.0),
            "ArrowUp" => pan(0.0, 60.0),
            "ArrowDown" => pan(0.0, -60.0),
            "+" | "=" if on_node() => widen(1),
            "-" if on_node() => widen(-1),
            "+" | "=" => zoom(1.25, None),
            "-" => zoom(0.8, None),
            "0" => fit(),
            "Escape" => choose(app, None),
            _ => return,
        }
        event.prevent_default();
    };
    let summary = move || {
        let firing = alerts.by_service.with(|found| found.len());
        let firing = if firing > 0 { format!(" Alerts fire for {firing} services.") } else { String::new() };
        shared.graph.with_value(|g| {
            let (nodes, edges) = (g.nodes.len(), g.edges.len());
            format!("Service map of {nodes} nodes and {edges} edges.{firing} The table view has the same data.")
        })
    };
    view! {
        <div class="map-canvas">
            <canvas node_ref=canvas tabindex="0" role="application" aria-label=summary
                class:over=move || over.get().is_some()
                on:pointerdown=move |event| {
                    // Without capture a drag that leaves the canvas ends there, no more.
                    if let Some(canvas) = canvas.get_untracked() { let _ = canvas.set_pointer_capture(event.pointer_id()); }
                    let at = place(event.client_x(), event.client_y());
                    press.set(Some((at, at, false)));
                }
                on:pointermove=moved
                on:pointerup=released
                on:pointerleave=move |_| over.set(None)
                on:wheel=move |event: web_sys::WheelEvent| {
                    event.prevent_default();
                    zoom((-event.delta_y() * 0.0015).exp(), Some(place(event.client_x(), event.client_y())));
                }
                on:keydown=keydown
            ></canvas>
            <div class="map-tools">
                <button type="button" class="button square" title="Zoom in" aria-label="Zoom in" on:click=move |_| zoom(1.25, None)>"+"</button>
                <button type="button" class="button square" title="Zoom out" aria-label="Zoom out" on:click=move |_| zoom(0.8, None)>"−"</button>
                <button type="button" class="button square" title="Show everything" aria-label="Show everything" on:click=move |_| fit()>{icon(Icon::Fit)}</button>
                <Show when=move || matches!(shared.chosen.get(), Some(Hit::Node(_)))>
                    <button type="button" class="button" on:click=move |_| widen(1) title="Key +">"One hop more"</button>
                    <button type="button" class="button" on:click=move |_| widen(-1) title="Key -">"One hop fewer"</button>
                </Show>
            </div>
        </div>
    }
}
