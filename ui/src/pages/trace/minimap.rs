//! The whole trace in a strip: every span as a line. A drag picks the part that the waterfall draws.

use leptos::html;
use leptos::prelude::*;

use super::Shared;
use crate::colour;
use crate::context::use_app;
use crate::parts::chart::{prepare, resolve};
use crate::parts::size::use_size;
use crate::waterfall::View;

#[component]
pub fn Minimap(shared: Shared) -> impl IntoView {
    let app = use_app();
    let canvas = NodeRef::<html::Canvas>::new();
    let size = use_size(canvas);
    let drag = RwSignal::new(None::<(f64, f64)>);
    Effect::new(move |_| {
        app.theme.track();
        let size = size.get();
        if let Some(canvas) = canvas.get() {
            draw(&canvas, size, shared);
        }
    });
    let share = move |event: &web_sys::PointerEvent| {
        let rect = canvas.get_untracked().map(|c| c.get_bounding_client_rect());
        rect.map_or(0.0, |r| ((f64::from(event.client_x()) - r.left()) / r.width().max(1.0)).clamp(0.0, 1.0))
    };
    let released = move |_| {
        let Some((a, b)) = drag.get_untracked() else { return };
        drag.set(None);
        let (from, to) = (a.min(b), a.max(b));
        if to - from > 0.004 {
            let whole = shared.whole;
            let at = |s: f64| whole.from + (s * whole.length as f64) as i64;
            shared.view.set(View { from: at(from), length: (at(to) - at(from)).max(1) });
        }
    };
    // The picked part, in per cent.
    let picked = move || {
        let (whole, view) = (shared.whole, shared.view.get());
        match drag.get() {
            Some((a, b)) => (a.min(b) * 100.0, (a - b).abs() * 100.0),
            None => (
                (view.from - whole.from) as f64 / whole.length as f64 * 100.0,
                view.length as f64 / whole.length as f64 * 100.0,
            ),
        }
    };
    view! {
        <div class="minimap">
            <canvas node_ref=canvas role="img" aria-label="The whole trace; drag to look at a part of it"
                on:pointerdown=move |event| {
                    // Without capture a drag that leaves the canvas ends there, no more.
                    if let Some(canvas) = canvas.get_untracked() { let _ = canvas.set_pointer_capture(event.pointer_id()); }
                    let at = share(&event);
                    drag.set(Some((at, at)));
                }
                on:pointermove=move |event| drag.update(|d| if let Some(d) = d { d.1 = share(&event); })
                on:pointerup=released
                on:dblclick=move |_| shared.view.set(shared.whole)
            ></canvas>
            <div class="minimap-picked" class:all=move || { picked().1 > 99.99 }
                style:left=move || format!("{:.3}%", picked().0) style:width=move || format!("{:.3}%", picked().1)></div>
        </div>
    }
}

fn draw(canvas: &web_sys::HtmlCanvasElement, size: (f64, f64), shared: Shared) {
    let Some(context) = prepare(canvas, size) else { return };
    let error = resolve("--error");
    shared.trace.with_value(|trace| {
        let rows = trace.spans.len().max(1) as f64;
        let height = ((size.1 - 4.0) / rows).clamp(1.0, 4.0);
        for (i, span) in trace.spans.iter().enumerate() {
            let Some((left, width)) = shared.whole.place(span.offset_ns, span.duration_ns) else { continue };
            let y = 2.0 + i as f64 / rows * (size.1 - 4.0);
            let failed = span.status_code == "ERROR";
            context.set_fill_style_str(&if failed { error.clone() } else { colour::of_service(&span.service_name) });
            context.fill_rect(
                left / 100.0 * size.0,
                y,
                (width / 100.0 * size.0).max(1.0),
                height.max(if failed { 2.0 } else { 0.0 }),
            );
        }
    });
}
