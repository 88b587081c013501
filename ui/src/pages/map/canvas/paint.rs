//! Paints the map: edges under nodes, what is dimmed under what stands out, three levels of detail by zoom.

use std::collections::{BTreeMap, HashMap, HashSet};

use orrery_api::{Edge, EdgeKind, Node, NodeKind, ServiceGraph};
use wasm_bindgen::JsValue;
use web_sys::CanvasRenderingContext2d as Context;

use super::super::Figure;
use crate::alerting::firing_of;
use crate::colour;
use crate::format;
use crate::map_compare::{Difference, Kind, Moved};
use crate::map_labels::{self, Rect};
use crate::map_view::{Hit, NODE_HEIGHT, NODE_WIDTH, Point, Viewport, by_id, centre, curve, edge_width, on_curve};
use crate::parts::chart::resolve;
use crate::parts::service::of_node;

pub struct Scene<'a> {
    pub viewport: Viewport,
    pub shown: &'a HashSet<String>,
    pub near: Option<&'a HashSet<String>>,
    pub chosen: Option<&'a Hit>,
    pub over: Option<&'a Hit>,
    pub figure: Figure,
    /// Of the canvas, in CSS pixels.
    pub size: (f64, f64),
    /// How many alerts fire, and whether one is urgent, by the service's id.
    pub firing: &'a BTreeMap<String, (usize, bool)>,
    /// What is not as it was, while the map is compared with an earlier one.
    pub differences: Option<&'a [Difference]>,
    /// The window's length, for rates.
    pub window: i64,
}

/// From this zoom on nodes have a second line and edges have labels, and from that on nodes have names.
const FIGURES: f64 = 0.42;
const NAMES: f64 = 0.22;
/// Labels at most, the most important first: each is measured and placed in every frame.
const MOST_LABELS: usize = 120;

struct Palette {
    page: String,
    surface: String,
    line: String,
    edge: String,
    text: String,
    muted: String,
    accent: String,
    error: String,
    warn: String,
}

pub fn paint(context: &Context, graph: &ServiceGraph, scene: &Scene) {
    let palette = Palette {
        page: resolve("--page"),
        surface: resolve("--surface"),
        line: resolve("--line-strong"),
        edge: resolve("--edge"),
        text: resolve("--text"),
        muted: resolve("--muted"),
        accent: resolve("--accent"),
        error: resolve("--error"),
        warn: resolve("--warn"),
    };
    let nodes = by_id(graph);
    let most = graph.edges.iter().map(|e| e.calls).max().unwrap_or(1);
    context.save();
    // The transform is made of finite numbers; it does not fail.
    let _ = context.translate(scene.viewport.x, scene.viewport.y);
    let _ = context.scale(scene.viewport.scale, scene.viewport.scale);
    let mut labels: Vec<Label> = Vec::new();
    let differences: HashMap<&str, &Difference> =
        scene.differences.unwrap_or_default().iter().map(|d| (d.edge.id.as_str(), d)).collect();
    let lost = differences.values().filter(|d| d.kind == Kind::Lost).map(|d| &d.edge);
    // What fails is drawn last, so that nothing covers it.
    let mut edges: Vec<&Edge> = graph.edges.iter().chain(lost).collect();
    edges.sort_by_key(|e| (failing(e.errors, e.calls), e.calls));
    for edge in edges {
        let (Some(source), Some(target)) = (nodes.get(edge.source.as_str()), nodes.get(edge.target.as_str())) else {
            continue;
        };
        if !scene.shown.contains(&edge.source) || !scene.shown.contains(&edge.target) {
            continue;
        }
        let difference = differences.get(edge.id.as_str()).copied();
        let stands_out = edge_stands_out(edge, scene, difference.is_some());
        let marked = is(scene.chosen, edge, true) || is(scene.over, edge, true);
        let points = curve(source, target);
        context.set_global_alpha(if stands_out { 1.0 } else { 0.12 });
        let kind = difference.map(|d| d.kind);
        paint_edge(context, edge, &points, edge_width(edge.calls, most), marked, kind, &palette);
        let chosen = is(scene.chosen, edge, false) || is(scene.over, edge, false);
        if stands_out && (scene.viewport.scale >= FIGURES || marked) && in_view(on_curve(&points, 0.5), scene) {
            labels.push(Label { edge, points, marked, chosen, difference });
        }
    }
    for node in graph.nodes.iter().filter(|n| scene.shown.contains(&n.id)) {
        let stands_out = scene.near.is_none_or(|near| near.contains(&node.id));
        context.set_global_alpha(if stands_out { 1.0 } else { 0.32 });
        paint_node(context, node, scene, &palette);
        if let Some((count, urgent)) = of_node(&node.id).and_then(|service| firing_of(scene.firing, service)) {
            paint_firing(context, node, count, urgent, scene.viewport.scale, &palette);
        }
    }
    context.set_global_alpha(1.0);
    paint_labels(context, labels, graph, scene, &palette);
    context.restore();
}

/// A label to be placed, while there is room.
struct Label<'a> {
    edge: &'a Edge,
    points: [Point; 4],
    /// It is chosen, or an end of it is.
    marked: bool,
    /// It is chosen itself: it is labelled even where there is no room.
    chosen: bool,
    /// It says what has changed, in the place of its figure.
    difference: Option<&'a Difference>,
}

fn in_view(at: Point, scene: &Scene) -> bool {
    let at = scene.viewport.to_screen(at);
    (0.0..scene.size.0).contains(&at.x) && (0.0..scene.size.1).contains(&at.y)
}

/// Whether a box around the point may reach into the view.
fn near_view(at: Point, scene: &Scene) -> bool {
    let reach = NODE_WIDTH * scene.viewport.scale;
    let at = scene.viewport.to_screen(at);
    (-reach..scene.size.0 + reach).contains(&at.x) && (-reach..scene.size.1 + reach).contains(&at.y)
}

fn is(hit: Option<&Hit>, edge: &Edge, or_end: bool) -> bool {
    match hit {
        Some(Hit::Edge(id)) => *id == edge.id,
        Some(Hit::Node(id)) => or_end && (*id == edge.source || *id == edge.target),
        None => false,
    }
}

fn edge_stands_out(edge: &Edge, scene: &Scene, differs: bool) -> bool {
    match (scene.chosen, scene.near) {
        (Some(Hit::Edge(id)), _) => *id == edge.id,
        (_, Some(near)) => near.contains(&edge.source) && near.contains(&edge.target),
        (_, None) => differs || scene.differences.is_none(),
    }
}

/// Whether so many errors are worth red.
fn failing(errors: u64, calls: u64) -> bool {
    errors as f64 / calls.max(1) as f64 >= 0.01
}

fn label(edge: &Edge, scene: &Scene) -> String {
    match scene.figure {
        Figure::Rate => format::rate(edge.calls, scene.window),
        Figure::Errors => format::error_share(edge.errors, edge.calls),
        Figure::P50 => format::duration(edge.p50_ns),
        Figure::P95 => format::duration(edge.p95_ns),
    }
}

fn paint_edge(
    context: &Context,
    edge: &Edge,
    points: &[Point; 4],
    width: f64,
    marked: bool,
    kind: Option<Kind>,
    palette: &Palette,
) {
    let lost = kind == Some(Kind::Lost);
    let colour = if lost {
        &palette.muted
    } else if failing(edge.errors, edge.calls) {
        &palette.error
    } else if marked || kind == Some(Kind::New) {
        &palette.accent
    } else {
        &palette.edge
    };
    let [a, b, c, d] = points;
    let dashes = match edge.kind {
        _ if lost => Some((2.0, 5.0)),
        EdgeKind::Messaging => Some((6.0, 5.0)),
        _ => None,
    };
    // An array of numbers is a valid dash pattern.
    if let Some((line, gap)) = dashes {
        let _ = context.set_line_dash(&js_sys::Array::of2(&JsValue::from_f64(line), &JsValue::from_f64(gap)));
    }
    context.set_stroke_style_str(colour);
    context.set_line_width(if marked { width + 1.0 } else { width });
    context.begin_path();
    context.move_to(a.x, a.y);
    context.bezier_curve_to(b.x, b.y, c.x, c.y, d.x - 5.0, d.y);
    context.stroke();
    if dashes.is_some() {
        let _ = context.set_line_dash(&js_sys::Array::new());
    }
    // The head points along the end of the curve.
    let (dx, dy) = (d.x - c.x, d.y - c.y);
    let length = (dx * dx + dy * dy).sqrt().max(0.001);
    let (ux, uy) = (dx / length, dy / length);
    let reach = 7.0 + width;
    let side = 2.6 + width * 0.6;
    context.set_fill_style_str(colour);
    context.begin_path();
    context.move_to(d.x, d.y);
    context.line_to(d.x - ux * reach - uy * side, d.y - uy * reach + ux * side);
    context.line_to(d.x - ux * reach + uy * side, d.y - uy * reach - ux * side);
    context.close_path();
    context.fill();
}

fn paint_node(context: &Context, node: &Node, scene: &Scene, palette: &Palette) {
    let at = centre(node);
    let (left, top) = (at.x - NODE_WIDTH / 2.0, at.y - NODE_HEIGHT / 2.0);
    let chosen = matches!(scene.chosen, Some(Hit::Node(id)) if *id == node.id);
    let over = matches!(scene.over, Some(Hit::Node(id)) if *id == node.id);
    let failing = node.errors as f64 / node.calls.max(1) as f64;
    let radius = if node.kind == NodeKind::Service { 5.0 } else { NODE_HEIGHT / 2.0 };
    context.begin_path();
    // Radii are not negative, so the path is made.
    let _ = context.round_rect_with_f64(left, top, NODE_WIDTH, NODE_HEIGHT, radius);
    context.set_fill_style_str(&palette.page);
    context.fill();
    context.set_fill_style_str(&palette.surface);
    context.fill();
    let border = if chosen || over {
        &palette.accent
    } else if failing >= 0.01 {
        &palette.error
    } else {
        &palette.line
    };
    context.set_stroke_style_str(border);
    context.set_line_width(if chosen {
        2.5
    } else if failing >= 0.01 {
        1.75
    } else {
        1.0
    });
    context.stroke();
    if node.kind == NodeKind::Service {
        context.set_fill_style_str(&colour::of_service(of_node(&node.id).unwrap_or(&node.name)));
        context.begin_path();
        let _ = context.round_rect_with_f64(left + 8.0, top + 10.0, 4.0, NODE_HEIGHT - 20.0, 2.0);
        context.fill();
    }
    if scene.viewport.scale < NAMES {
        return;
    }
    let large = scene.viewport.scale < FIGURES;
    paint_kind(context, node, Point { x: left + 20.0, y: at.y }, palette);
    context.set_text_align("left");
    context.set_text_baseline("middle");
    context.set_fill_style_str(&palette.text);
    // Letters keep a readable size on screen as long as they fit the box.
    let name_size = if large { 19.0 } else { (10.5 / scene.viewport.scale).clamp(12.5, 16.0) };
    let second_size = (9.0 / scene.viewport.scale).clamp(11.0, 13.5);
    context.set_font(&format!("500 {name_size}px Inter, sans-serif"));
    let text_left = left + 40.0;
    let room = NODE_WIDTH - 46.0;
    let name = clipped(context, &node.name, room);
    // A text that cannot be drawn leaves a gap, no more; the same below.
    let _ = context.fill_text(&name, text_left, if large { at.y } else { at.y - second_size * 0.72 });
    if large {
        return;
    }
    context.set_font(&format!("{second_size}px Inter, sans-serif"));
    context.set_fill_style_str(&palette.muted);
    let second = match node.kind {
        NodeKind::User => "entry".to_owned(),
        _ if node.calls == 0 => node.system.clone().unwrap_or_else(|| "calls others only".to_owned()),
        _ => format::rate(node.calls, scene.window),
    };
    let _ = context.fill_text(&second, text_left, at.y + name_size * 0.64);
    if node.errors > 0 {
        let after = context.measure_text(&format!("{second}  ")).map(|m| m.width()).unwrap_or(0.0);
        context.set_fill_style_str(if failing >= 0.01 { &palette.error } else { &palette.muted });
        let _ = context.fill_text(&format!("✕ {}", format::share(failing)), text_left + after, at.y + name_size * 0.64);
    }
}

/// A bell and how many alerts fire, at the upper right corner of the node and above its name, of one size on screen at every
/// zoom.
fn paint_firing(context: &Context, node: &Node, count: usize, urgent: bool, scale: f64, palette: &Palette) {
    let unit = (1.0 / scale).clamp(1.0, 3.0);
    let text = if scale < FIGURES { count.to_string() } else { format!("{count} firing") };
    context.set_font(&format!("600 {}px Inter, sans-serif", 10.5 * unit));
    let width = context.measure_text(&text).map(|m| m.width()).unwrap_or(0.0) + 24.0 * unit;
    let (height, at) = (16.0 * unit, centre(node));
    let left = at.x + NODE_WIDTH / 2.0 - width + 6.0;
    let middle = at.y - NODE_HEIGHT / 2.0 - height / 2.0 + 3.0;
    context.set_fill_style_str(if urgent { &palette.error } else { &palette.warn });
    context.begin_path();
    // Radii are not negative, so the path is made; a text that cannot be drawn leaves a gap, no more.
    let _ = context.round_rect_with_f64(left, middle - height / 2.0, width, height, height / 2.0);
    context.fill();
    context.set_fill_style_str(&palette.page);
    let (x, y) = (left + 11.0 * unit, middle);
    context.begin_path();
    context.move_to(x - 4.5 * unit, y + 2.8 * unit);
    context.bezier_curve_to(x - 2.8 * unit, y + 1.0 * unit, x - 4.0 * unit, y - 4.6 * unit, x, y - 4.6 * unit);
    context.bezier_curve_to(
        x + 4.0 * unit,
        y - 4.6 * unit,
        x + 2.8 * unit,
        y + 1.0 * unit,
        x + 4.5 * unit,
        y + 2.8 * unit,
    );
    context.close_path();
    context.fill();
    context.begin_path();
    let _ = context.arc(x, y + 4.2 * unit, 1.4 * unit, 0.0, std::f64::consts::TAU);
    context.fill();
    context.set_text_align("left");
    context.set_text_baseline("middle");
    let _ = context.fill_text(&text, left + 18.0 * unit, middle + 0.5 * unit);
}

/// The sign of a node's kind, 14 units wide.
fn paint_kind(context: &Context, node: &Node, at: Point, palette: &Palette) {
    context.set_stroke_style_str(&palette.muted);
    context.set_line_width(1.3);
    let (x, y) = (at.x, at.y);
    context.begin_path();
    // Arcs and boxes of fixed positive radii are always made.
    match node.kind {
        NodeKind::Service => {
            context.rect(x, y - 6.0, 13.0, 5.0);
            context.rect(x, y + 1.0, 13.0, 5.0);
        }
        NodeKind::Database => {
            let _ = context.ellipse(x + 6.5, y - 4.5, 6.0, 2.4, 0.0, 0.0, std::f64::consts::TAU);
            context.move_to(x + 0.5, y - 4.5);
            context.line_to(x + 0.5, y + 4.5);
            let _ = context.ellipse(x + 6.5, y + 4.5, 6.0, 2.4, 0.0, std::f64::consts::PI, 0.0);
            context.move_to(x + 12.5, y + 4.5);
            context.line_to(x + 12.5, y - 4.5);
        }
        NodeKind::Messaging => {
            context.rect(x, y - 4.0, 4.0, 8.0);
            context.rect(x + 4.5, y - 4.0, 4.0, 8.0);
            context.rect(x + 9.0, y - 4.0, 4.0, 8.0);
        }
        NodeKind::External => {
            let _ = context.ellipse(x + 6.5, y, 6.5, 6.5, 0.0, 0.0, std::f64::consts::TAU);
            context.move_to(x + 9.2, y);
            let _ = context.ellipse(x + 6.5, y, 2.7, 6.5, 0.0, 0.0, std::f64::consts::TAU);
            context.move_to(x, y);
            context.line_to(x + 13.0, y);
        }
        NodeKind::User => {
            let _ = context.arc(x + 6.5, y - 3.0, 3.0, 0.0, std::f64::consts::TAU);
            context.move_to(x + 0.5, y + 6.5);
            context.bezier_curve_to(x + 2.0, y + 0.5, x + 11.0, y + 0.5, x + 12.5, y + 6.5);
        }
    }
    context.stroke();
}

fn paint_labels(context: &Context, mut labels: Vec<Label>, graph: &ServiceGraph, scene: &Scene, palette: &Palette) {
    let size = (11.0 / scene.viewport.scale).max(11.0);
    context.set_font(&format!("{size}px Inter, sans-serif"));
    context.set_text_align("center");
    context.set_text_baseline("middle");
    labels.sort_by_key(|l| std::cmp::Reverse((l.chosen, l.marked, failing(l.edge.errors, l.edge.calls), l.edge.calls)));
    labels.truncate(MOST_LABELS);
    let boxes =
        graph.nodes.iter().filter(|n| scene.shown.contains(&n.id)).map(centre).filter(|at| near_view(*at, scene));
    let mut taken: Vec<Rect> = boxes.map(|at| Rect::around(at, NODE_WIDTH, NODE_HEIGHT)).collect();
    for Label { edge, points, chosen, difference, .. } in labels {
        let text = difference.map_or_else(|| label(edge, scene), Difference::words);
        let worse = difference.is_some_and(|d| matches!(d.moved.first(), Some(Moved::Errors(was, is)) if is > was));
        let width = context.measure_text(&text).map(|m| m.width()).unwrap_or(0.0) + 8.0;
        let found = map_labels::place(&points, width, size * 1.4, &taken);
        let Some(at) = found.or_else(|| chosen.then(|| on_curve(&points, 0.5))) else { continue };
        taken.push(Rect::around(at, width, size * 1.4));
        context.set_fill_style_str(&palette.page);
        context.fill_rect(at.x - width / 2.0, at.y - size * 0.7, width, size * 1.4);
        let red = worse || difference.is_none() && failing(edge.errors, edge.calls);
        context.set_fill_style_str(if red { &palette.error } else { &palette.muted });
        // A text that cannot be drawn leaves a gap, no more.
        let _ = context.fill_text(&text, at.x, at.y + 0.5);
    }
}

/// A text cut to a width, with an ellipsis.
fn clipped(context: &Context, text: &str, room: f64) -> String {
    let width = |t: &str| context.measure_text(t).map(|m| m.width()).unwrap_or(0.0);
    if width(text) <= room {
        return text.to_owned();
    }
    let mut cut: String = text.to_owned();
    while !cut.is_empty() && width(&format!("{cut}…")) > room {
        cut.pop();
    }
    format!("{cut}…")
}
