//! The map's geometry: where the server's layered positions come to lie, zoom and pan, what a pointer is over, whose
//! neighbours are whose. Never touches a canvas.

use std::collections::{HashMap, HashSet};

use orrery_api::{Edge, Node, ServiceGraph};

/// A node's box and the distances between boxes, in units of the drawing.
pub const NODE_WIDTH: f64 = 204.0;
pub const NODE_HEIGHT: f64 = 42.0;
const LAYER: f64 = 268.0;
const STEP: f64 = 66.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

/// The centre of a node.
pub fn centre(node: &Node) -> Point {
    Point { x: node.x * LAYER, y: node.y * STEP }
}

/// Pulls the rows apart, up to twice their distance, where a drawing that is fitted to the given size would leave room
/// above and below.
pub fn fill(graph: &mut ServiceGraph, width: f64, height: f64) {
    let extent = |part: fn(&Node) -> f64| {
        let low = graph.nodes.iter().map(part).fold(f64::MAX, f64::min);
        graph.nodes.iter().map(part).fold(f64::MIN, f64::max) - low
    };
    let (layers, rows) = (extent(|n| n.x), extent(|n| n.y));
    if layers < 1.0 || rows < 1.0 || width < 1.0 {
        return;
    }
    let wide = layers * LAYER + NODE_WIDTH;
    let factor = (wide * height / width - NODE_HEIGHT) / (rows * STEP);
    for node in &mut graph.nodes {
        node.y *= factor.clamp(1.0, 2.0);
    }
}

/// What of the drawing is on screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Viewport {
    pub scale: f64,
    pub x: f64,
    pub y: f64,
}

impl Viewport {
    /// Everything, centred, never larger than life.
    pub fn fit(nodes: &[&Node], width: f64, height: f64) -> Viewport {
        const MARGIN: f64 = 36.0;
        let mut low = Point { x: f64::MAX, y: f64::MAX };
        let mut high = Point { x: f64::MIN, y: f64::MIN };
        for at in nodes.iter().map(|n| centre(n)) {
            low = Point { x: low.x.min(at.x), y: low.y.min(at.y) };
            high = Point { x: high.x.max(at.x), y: high.y.max(at.y) };
        }
        if nodes.is_empty() {
            return Viewport { scale: 1.0, x: 0.0, y: 0.0 };
        }
        let (w, h) = (high.x - low.x + NODE_WIDTH, high.y - low.y + NODE_HEIGHT);
        let scale = ((width - 2.0 * MARGIN) / w).min((height - 2.0 * MARGIN) / h).clamp(0.08, 1.0);
        let middle = Point { x: (low.x + high.x) / 2.0, y: (low.y + high.y) / 2.0 };
        Viewport { scale, x: width / 2.0 - middle.x * scale, y: height / 2.0 - middle.y * scale }
    }

    pub fn to_screen(&self, at: Point) -> Point {
        Point { x: at.x * self.scale + self.x, y: at.y * self.scale + self.y }
    }

    pub fn to_drawing(&self, at: Point) -> Point {
        Point { x: (at.x - self.x) / self.scale, y: (at.y - self.y) / self.scale }
    }

    /// Zooms so that the point under the pointer stays there.
    pub fn zoomed(&self, factor: f64, at: Point) -> Viewport {
        let scale = (self.scale * factor).clamp(0.05, 3.0);
        let held = self.to_drawing(at);
        Viewport { scale, x: at.x - held.x * scale, y: at.y - held.y * scale }
    }

    /// How a picture painted for another viewport lies in this one: how many times as large, and where its corner is.
    pub fn relative_to(&self, painted: &Viewport) -> (f64, f64, f64) {
        let factor = self.scale / painted.scale;
        (factor, self.x - painted.x * factor, self.y - painted.y * factor)
    }

    pub fn moved(&self, dx: f64, dy: f64) -> Viewport {
        Viewport { x: self.x + dx, y: self.y + dy, ..*self }
    }
}

/// The four control points of an edge's curve: out of the right side, into the left. An edge that goes back, or stays in
/// its layer, swings out below or above so that it does not run through boxes.
pub fn curve(source: &Node, target: &Node) -> [Point; 4] {
    let (from, to) = (centre(source), centre(target));
    let half = NODE_WIDTH / 2.0;
    if source.id == target.id {
        let top = from.y - NODE_HEIGHT / 2.0;
        return [
            Point { x: from.x + 30.0, y: top },
            Point { x: from.x + 60.0, y: top - 46.0 },
            Point { x: from.x - 60.0, y: top - 46.0 },
            Point { x: from.x - 30.0, y: top },
        ];
    }
    let (start, end) = (Point { x: from.x + half, y: from.y }, Point { x: to.x - half, y: to.y });
    let gap = end.x - start.x;
    if gap > 0.0 {
        let reach = (gap * 0.5).clamp(36.0, 260.0);
        return [start, Point { x: start.x + reach, y: start.y }, Point { x: end.x - reach, y: end.y }, end];
    }
    let swing = 90.0 + gap.abs() * 0.12;
    let below = if to.y >= from.y { swing } else { -swing };
    [start, Point { x: start.x + 120.0, y: start.y + below }, Point { x: end.x - 120.0, y: end.y + below }, end]
}

/// A point of the curve, `t` from 0 to 1.
pub fn on_curve(curve: &[Point; 4], t: f64) -> Point {
    let u = 1.0 - t;
    let weights = [u * u * u, 3.0 * u * u * t, 3.0 * u * t * t, t * t * t];
    let sum = |part: fn(&Point) -> f64| curve.iter().zip(weights).map(|(p, w)| part(p) * w).sum();
    Point { x: sum(|p| p.x), y: sum(|p| p.y) }
}

/// How far a point is from the curve, measured at steps fine enough for a pointer.
fn distance(curve: &[Point; 4], at: Point) -> f64 {
    let squared = |p: Point| (p.x - at.x).powi(2) + (p.y - at.y).powi(2);
    (0..=32).map(|i| squared(on_curve(curve, f64::from(i) / 32.0))).fold(f64::MAX, f64::min).sqrt()
}

/// What a pointer is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hit {
    Node(String),
    Edge(String),
}

/// The node, else the edge, under a point of the drawing. `reach` is how near to an edge counts.
pub fn hit(graph: &ServiceGraph, shown: &HashSet<String>, at: Point, reach: f64) -> Option<Hit> {
    let inside = |n: &&Node| {
        let c = centre(n);
        shown.contains(&n.id) && (at.x - c.x).abs() <= NODE_WIDTH / 2.0 && (at.y - c.y).abs() <= NODE_HEIGHT / 2.0
    };
    if let Some(node) = graph.nodes.iter().find(inside) {
        return Some(Hit::Node(node.id.clone()));
    }
    let nodes = by_id(graph);
    let measured = graph.edges.iter().filter_map(|e| {
        let (source, target) = (nodes.get(e.source.as_str())?, nodes.get(e.target.as_str())?);
        (shown.contains(&e.source) && shown.contains(&e.target)).then(|| (distance(&curve(source, target), at), &e.id))
    });
    let nearest = measured.min_by(|a, b| a.0.total_cmp(&b.0));
    nearest.filter(|(d, _)| *d <= reach).map(|(_, id)| Hit::Edge(id.clone()))
}

pub fn by_id(graph: &ServiceGraph) -> HashMap<&str, &Node> {
    graph.nodes.iter().map(|n| (n.id.as_str(), n)).collect()
}

/// Nodes within so many hops of one, whichever way the edges point.
pub fn neighbourhood(edges: &[Edge], of: &str, hops: usize) -> HashSet<String> {
    let mut reached = HashSet::from([of.to_owned()]);
    for _ in 0..hops {
        let beside: Vec<String> = edges
            .iter()
            .flat_map(|e| [(&e.source, &e.target), (&e.target, &e.source)])
            .filter(|(a, b)| reached.contains(*a) && !reached.contains(*b))
            .map(|(_, b)| b.clone())
            .collect();
        reached.extend(beside);
    }
    reached
}

/// The width of an edge by its calls: a logarithm, since rates span orders of magnitude.
pub fn edge_width(calls: u64, most: u64) -> f64 {
    let share = ((calls.max(1)) as f64).ln_1p() / (most.max(1) as f64).ln_1p();
    1.0 + 3.5 * share.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> ServiceGraph {
        let node = |id: &str, x: f64, y: f64| serde_json::json!({"id": id, "kind": "service", "name": id, "calls": 1, "errors": 0, "x": x, "y": y});
        let edge = |a: &str, b: &str| {
            serde_json::json!({"id": format!("{a}>{b}"), "source": a, "target": b, "kind": "call", "calls": 1,
                "errors": 0, "unpaired": 0, "estimated_calls": 1.0, "sum_ns": 1, "p50_ns": 1, "p95_ns": 1, "p99_ns": 1,
                "exemplars": []})
        };
        serde_json::from_value(serde_json::json!({
            "nodes": [node("a", 0.0, 0.0), node("b", 1.0, 0.0), node("c", 2.0, 1.0)],
            "edges": [edge("a", "b"), edge("b", "c"), edge("c", "a")],
            "completeness": 1.0,
            "receipt": {"elapsed_ms": 1.0, "rows_scanned": 1, "bytes_scanned": 1, "files": 0, "files_pruned": 0}
        }))
        .unwrap()
    }

    #[test]
    fn a_pointer_finds_nodes_before_edges() {
        let graph = graph();
        let all: HashSet<String> = graph.nodes.iter().map(|n| n.id.clone()).collect();
        assert_eq!(hit(&graph, &all, Point { x: 4.0, y: 4.0 }, 6.0), Some(Hit::Node("a".into())));
        assert_eq!(hit(&graph, &all, Point { x: LAYER / 2.0, y: 3.0 }, 6.0), Some(Hit::Edge("a>b".into())));
        assert_eq!(hit(&graph, &all, Point { x: LAYER / 2.0, y: -300.0 }, 6.0), None);
        let only_a = HashSet::from(["a".to_owned()]);
        assert_eq!(hit(&graph, &only_a, Point { x: LAYER / 2.0, y: 3.0 }, 6.0), None);
    }

    #[test]
    fn fit_shows_every_node_and_zoom_holds_the_pointer() {
        let graph = graph();
        let view = Viewport::fit(&graph.nodes.iter().collect::<Vec<_>>(), 500.0, 400.0);
        for node in &graph.nodes {
            let at = view.to_screen(centre(node));
            assert!((0.0..=500.0).contains(&at.x) && (0.0..=400.0).contains(&at.y), "{at:?}");
        }
        let at = Point { x: 120.0, y: 80.0 };
        let (before, after) = (view.to_drawing(at), view.zoomed(1.7, at).to_drawing(at));
        assert!((before.x - after.x).abs() < 1e-9 && (before.y - after.y).abs() < 1e-9);
        // A picture of the one viewport, put into the other, has every node where it is painted anew.
        let (painted, shown) = (view, view.zoomed(1.7, at).moved(30.0, -12.0));
        let (factor, x, y) = shown.relative_to(&painted);
        for node in &graph.nodes {
            let (was, is) = (painted.to_screen(centre(node)), shown.to_screen(centre(node)));
            assert!((was.x * factor + x - is.x).abs() < 1e-9 && (was.y * factor + y - is.y).abs() < 1e-9);
        }
    }

    #[test]
    fn a_neighbourhood_widens_by_hops() {
        let edges = &graph().edges[..2];
        assert_eq!(neighbourhood(edges, "a", 1).len(), 2);
        assert_eq!(neighbourhood(edges, "a", 2).len(), 3);
        assert_eq!(neighbourhood(edges, "b", 1).len(), 3);
    }
}
