//! A chart over time on a canvas: lines, or stacked bars in equal steps. A pointer reads values off it, a drag picks a
//! window. Its figures stand in a table beside it or in the tooltip; the canvas is never the only place.

use std::sync::Arc;

use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::CanvasRenderingContext2d;

use super::size::use_size;
use crate::context::use_app;
use crate::instant;
use crate::range::{TimeRange, Window};
use crate::scale;
use crate::unit::Unit;

#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    pub window: Window,
    pub shape: Shape,
    pub unit: Unit,
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub label: String,
    /// A CSS colour, or the name of a custom property.
    pub colour: String,
    /// In order of time.
    pub points: Vec<(i64, Option<f64>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Lines,
    /// Bars of the given width in time; lines are stacked from the first upwards.
    Bars(i64),
}

/// Values in equal steps over a window, as points.
pub fn steps(window: Window, values: impl ExactSizeIterator<Item = Option<f64>>) -> Vec<(i64, Option<f64>)> {
    let step = window.length() / (values.len().max(1) as i64);
    values.enumerate().map(|(i, v)| (window.start + step * i as i64, v)).collect()
}

const LEFT: f64 = 58.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 22.0;

#[component]
pub fn Chart(
    plot: Signal<Arc<Plot>>,
    /// What the chart shows, for those who do not see it.
    #[prop(into)]
    label: Signal<String>,
    #[prop(optional)] class: &'static str,
) -> impl IntoView {
    let app = use_app();
    let canvas = NodeRef::<html::Canvas>::new();
    let size = use_size(canvas);
    let pointer = RwSignal::new(None::<f64>);
    let from = RwSignal::new(None::<f64>);
    Effect::new(move |_| {
        app.theme.track();
        let (size, plot) = (size.get(), plot.get());
        if let Some(canvas) = canvas.get() {
            draw(&canvas, size, &plot, pointer.get(), from.get());
        }
    });
    let x_of = move |event: &web_sys::PointerEvent| {
        let left = canvas.get_untracked().map_or(0.0, |c| c.get_bounding_client_rect().left());
        f64::from(event.client_x()) - left
    };
    let released = move |event: web_sys::PointerEvent| {
        let Some(start) = from.get_untracked() else { return };
        from.set(None);
        let end = x_of(&event);
        if (end - start).abs() > 6.0 {
            let (window, width) = (plot.get_untracked().window, size.get_untracked().0);
            let (a, b) = (time_at(window, width, start.min(end)), time_at(window, width, start.max(end)));
            app.set_range(TimeRange::Between(a, b.max(a + 1)));
        }
    };
    view! {
        <div class=format!("chart {class}")>
            <canvas
                node_ref=canvas
                role="img"
                aria-label=move || label.get()
                on:pointerdown=move |event| {
                    // Without capture a drag that leaves the canvas ends there, no more.
                    if let Some(canvas) = canvas.get_untracked() { let _ = canvas.set_pointer_capture(event.pointer_id()); }
                    from.set(Some(x_of(&event)));
                }
                on:pointermove=move |event| pointer.set(Some(x_of(&event)))
                on:pointerleave=move |_| pointer.set(None)
                on:pointerup=released
            ></canvas>
            {move || pointer.get().and_then(|x| tooltip(&plot.get(), size.get().0, x))}
        </div>
    }
}

/// What the colours of a chart mean.
pub fn legend(entries: &[(&'static str, &'static str)]) -> impl IntoView + use<> {
    let entry = |(colour, label): &(&'static str, &'static str)| {
        view! { <span><span class="swatch" style:background=css_colour(colour)></span>{*label}</span> }
    };
    view! { <span class="legend">{entries.iter().map(entry).collect_view()}</span> }
}

fn tooltip(plot: &Plot, width: f64, x: f64) -> Option<AnyView> {
    if x < LEFT || x > width - RIGHT {
        return None;
    }
    let at = time_at(plot.window, width, x);
    let mut rows: Vec<(String, String, f64)> = Vec::new();
    let mut when = at;
    for line in &plot.lines {
        let near = nearest(line, at, plot.shape);
        if let Some((time, Some(value))) = near {
            when = time;
            rows.push((line.label.clone(), line.colour.clone(), value));
        }
    }
    if rows.is_empty() {
        return None;
    }
    if plot.shape == Shape::Lines {
        rows.sort_by(|a, b| b.2.total_cmp(&a.2));
    }
    let more = rows.len().saturating_sub(10);
    rows.truncate(10);
    let unit = plot.unit;
    let flip = x > width * 0.6;
    let offset = if flip { format!("{:.0}px", width - x + 12.0) } else { format!("{:.0}px", x + 12.0) };
    let (left, right) = if flip { ("auto".to_owned(), offset) } else { (offset, "auto".to_owned()) };
    let rows = rows.into_iter().map(|(label, colour, value)| {
        view! {
            <li><span class="swatch" style:background=css_colour(&colour)></span><span class="clip">{label}</span><b>{unit.text(value)}</b></li>
        }
    });
    Some(
        view! {
            <div class="tooltip" style:left=left style:right=right>
                <div class="mono">{instant::short_millis(when)}</div>
                <ul>{rows.collect_view()}</ul>
                {(more > 0).then(|| view! { <div class="faint">{format!("and {more} more")}</div> })}
            </div>
        }
        .into_any(),
    )
}

/// The point that a time belongs to: its bar, or the nearest.
fn nearest(line: &Line, at: i64, shape: Shape) -> Option<(i64, Option<f64>)> {
    let next = line.points.partition_point(|(t, _)| *t <= at);
    let before = next.checked_sub(1).map(|i| line.points[i]);
    match shape {
        Shape::Bars(step) => before.filter(|(t, _)| at < t.saturating_add(step)),
        Shape::Lines => {
            let after = line.points.get(next).copied();
            match (before, after) {
                (Some(b), Some(a)) => Some(if at - b.0 <= a.0 - at { b } else { a }),
                (one, other) => one.or(other),
            }
        }
    }
}

fn time_at(window: Window, width: f64, x: f64) -> i64 {
    let share = ((x - LEFT) / (width - LEFT - RIGHT).max(1.0)).clamp(0.0, 1.0);
    window.start + (share * window.length() as f64) as i64
}

fn css_colour(colour: &str) -> String {
    if colour.starts_with("--") { format!("var({colour})") } else { colour.to_owned() }
}

/// The value of a custom property in the theme that is on, or the colour itself.
pub fn resolve(colour: &str) -> String {
    if !colour.starts_with("--") {
        return colour.to_owned();
    }
    let root = document().document_element();
    let style = root.and_then(|root| window().get_computed_style(&root).ok().flatten());
    let value = style.and_then(|s| s.get_property_value(colour).ok()).unwrap_or_default();
    value.trim().to_owned()
}

/// A canvas made sharp for the screen's density, cleared, one unit a CSS pixel.
pub fn prepare(canvas: &web_sys::HtmlCanvasElement, size: (f64, f64)) -> Option<CanvasRenderingContext2d> {
    let density = window().device_pixel_ratio().max(1.0);
    let (width, height) = ((size.0 * density).round() as u32, (size.1 * density).round() as u32);
    if width == 0 || height == 0 {
        return None;
    }
    if canvas.width() != width || canvas.height() != height {
        canvas.set_width(width);
        canvas.set_height(height);
    }
    let context = canvas.get_context("2d").ok().flatten()?.dyn_into::<CanvasRenderingContext2d>().ok()?;
    context.set_transform(density, 0.0, 0.0, density, 0.0, 0.0).ok()?;
    context.clear_rect(0.0, 0.0, size.0, size.1);
    Some(context)
}

fn draw(canvas: &web_sys::HtmlCanvasElement, size: (f64, f64), plot: &Plot, pointer: Option<f64>, from: Option<f64>) {
    let Some(context) = prepare(canvas, size) else { return };
    let (width, height) = size;
    let area = (width - LEFT - RIGHT, height - TOP - BOTTOM);
    if area.0 < 20.0 || area.1 < 20.0 {
        return;
    }
    let (least, largest) = extremes(plot);
    let ticks = scale::ticks(least, largest, (area.1 / 34.0) as usize);
    let (low, high) = (ticks[0], *ticks.last().unwrap_or(&1.0));
    let y = |v: f64| TOP + area.1 - (v - low) / (high - low) * area.1;
    let x = |t: i64| LEFT + (t - plot.window.start) as f64 / plot.window.length() as f64 * area.0;
    let (grid, muted) = (resolve("--line"), resolve("--muted"));
    context.set_font("11px Inter, sans-serif");
    context.set_line_width(1.0);
    context.set_stroke_style_str(&grid);
    context.set_fill_style_str(&muted);
    context.set_text_align("right");
    context.set_text_baseline("middle");
    // Bars count: between whole numbers there is nothing to mark.
    let marked = |tick: &&f64| plot.shape == Shape::Lines || tick.fract() == 0.0;
    for tick in ticks.iter().filter(marked) {
        let at = y(*tick).round() + 0.5;
        stroke(&context, &[(LEFT, at), (width - RIGHT, at)]);
        // A text that cannot be drawn leaves a gap, no more; the same below.
        let _ = context.fill_text(&plot.unit.text(*tick), LEFT - 8.0, at);
    }
    context.set_text_align("center");
    context.set_text_baseline("alphabetic");
    let (times, step) = instant::ticks(plot.window.start, plot.window.end, (area.0 / 90.0) as usize);
    for time in times {
        let at = x(time).clamp(LEFT, width - 20.0);
        let _ = context.fill_text(&instant::tick_label(time, step), at, height - 6.0);
    }
    context.save();
    context.begin_path();
    context.rect(LEFT, TOP - 2.0, area.0, area.1 + 3.0);
    context.clip();
    match plot.shape {
        Shape::Bars(step) => bars(&context, plot, step, &x, &y, low),
        Shape::Lines => lines(&context, plot, &x, &y),
    }
    context.restore();
    if let Some(at) = pointer.filter(|at| *at >= LEFT && *at <= width - RIGHT) {
        context.set_stroke_style_str(&muted);
        stroke(&context, &[(at.round() + 0.5, TOP), (at.round() + 0.5, TOP + area.1)]);
        if let Some(from) = from {
            context.set_global_alpha(0.18);
            context.set_fill_style_str(&resolve("--accent"));
            context.fill_rect(from.min(at), TOP, (at - from).abs(), area.1);
            context.set_global_alpha(1.0);
        }
    }
}

fn stroke(context: &CanvasRenderingContext2d, points: &[(f64, f64)]) {
    context.begin_path();
    for (i, (x, y)) in points.iter().enumerate() {
        if i == 0 { context.move_to(*x, *y) } else { context.line_to(*x, *y) }
    }
    context.stroke();
}

fn bars(
    context: &CanvasRenderingContext2d,
    plot: &Plot,
    step: i64,
    x: &dyn Fn(i64) -> f64,
    y: &dyn Fn(f64) -> f64,
    low: f64,
) {
    let mut tops: std::collections::HashMap<i64, f64> = std::collections::HashMap::new();
    for line in &plot.lines {
        context.set_fill_style_str(&resolve(&line.colour));
        for (time, value) in &line.points {
            let Some(value) = value.filter(|v| *v > 0.0) else { continue };
            let base = tops.entry(*time).or_insert(low.max(0.0));
            let (left, right) = (x(*time), x(time.saturating_add(step)));
            let gap = if right - left > 3.0 { 1.0 } else { 0.0 };
            // What is there is seen, however small beside the largest.
            let (bottom, top) = (y(*base), y(*base + value).min(y(*base) - 1.0));
            context.fill_rect(left, top, (right - left - gap).max(1.0), bottom - top);
            *base += value;
        }
    }
}

fn lines(context: &CanvasRenderingContext2d, plot: &Plot, x: &dyn Fn(i64) -> f64, y: &dyn Fn(f64) -> f64) {
    context.set_line_width(1.5);
    context.set_line_join("round");
    for line in &plot.lines {
        let colour = resolve(&line.colour);
        context.set_stroke_style_str(&colour);
        context.set_fill_style_str(&colour);
        for run in line.points.split(|(_, v)| v.is_none()) {
            let points: Vec<(f64, f64)> = run.iter().filter_map(|(t, v)| Some((x(*t), y((*v)?)))).collect();
            match points.as_slice() {
                [] => {}
                // A lone point has no line to be seen by.
                [(px, py)] => context.fill_rect(px - 1.5, py - 1.5, 3.0, 3.0),
                many => stroke(context, many),
            }
        }
    }
    context.set_line_width(1.0);
}

/// The least and the largest value that is drawn: of the sums, where bars are stacked.
fn extremes(plot: &Plot) -> (f64, f64) {
    let mut sums: std::collections::HashMap<i64, f64> = std::collections::HashMap::new();
    let mut found = (0.0_f64, 0.0_f64);
    for (time, value) in plot.lines.iter().flat_map(|l| l.points.iter()) {
        let Some(value) = value.filter(|v| v.is_finite()) else { continue };
        let shown = match plot.shape {
            Shape::Bars(_) => {
                let sum = sums.entry(*time).or_default();
                *sum += value;
                *sum
            }
            Shape::Lines => value,
        };
        found = (found.0.min(shown), found.1.max(shown));
    }
    found
}
