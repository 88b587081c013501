//! Where the map's nodes stand: layers from left to right by longest path, the order within a layer by barycenters.
//! Depends on which nodes and edges there are and on nothing else, so that a refresh moves nothing.

use hashbrown::HashMap;
use orrery_api::{Edge, Node};

/// Times that the order of all layers is improved, there and back.
const SWEEPS: usize = 12;

/// Sets `x` (the layer, from 0) and `y` (in heights of a node, layers centred on 0) of all nodes.
pub fn layout(nodes: &mut [Node], edges: &[Edge]) {
    let numbers: HashMap<&str, usize> = nodes.iter().enumerate().map(|(i, n)| (n.id.as_str(), i)).collect();
    let mut pairs: Vec<(usize, usize)> = edges
        .iter()
        .filter_map(|e| Some((*numbers.get(e.source.as_str())?, *numbers.get(e.target.as_str())?)))
        .filter(|(a, b)| a != b)
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    drop(numbers);
    let order = by_name(nodes);
    let acyclic = without_cycles(nodes.len(), &pairs, &order);
    let layer = layers(nodes.len(), &acyclic);
    let position = positions(&layer, &acyclic, &order);
    for (i, node) in nodes.iter_mut().enumerate() {
        node.x = layer[i] as f64;
        node.y = position[i];
    }
}

/// The nodes in the order in which everything is done, and each one's place in it: the user first, then by id.
fn by_name(nodes: &[Node]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|&i| (nodes[i].id != "user", nodes[i].id.as_str()));
    order
}

fn adjacency(n: usize, pairs: &[(usize, usize)]) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
    let (mut out, mut into) = (vec![Vec::new(); n], vec![Vec::new(); n]);
    for &(a, b) in pairs {
        out[a].push(b);
        into[b].push(a);
    }
    (out, into)
}

/// The edges, those that close a cycle turned round. A depth-first walk from the nodes that nothing leads to, then from
/// the rest.
fn without_cycles(n: usize, pairs: &[(usize, usize)], order: &[usize]) -> Vec<(usize, usize)> {
    let mut rank = vec![0; n];
    for (r, &i) in order.iter().enumerate() {
        rank[i] = r;
    }
    let (mut out, into) = adjacency(n, pairs);
    for targets in &mut out {
        targets.sort_by_key(|&t| rank[t]);
    }
    let starts = order.iter().filter(|&&i| into[i].is_empty()).chain(order.iter().filter(|&&i| !into[i].is_empty()));
    // 0 not yet seen, 1 on the walk's path, 2 done.
    let mut state = vec![0_u8; n];
    let mut found = Vec::with_capacity(pairs.len());
    for &start in starts {
        if state[start] != 0 {
            continue;
        }
        state[start] = 1;
        let mut path = vec![(start, 0)];
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            let Some(&target) = out[node].get(*next) else {
                state[node] = 2;
                path.pop();
                continue;
            };
            *next += 1;
            if state[target] == 1 {
                found.push((target, node));
                continue;
            }
            found.push((node, target));
            if state[target] == 0 {
                state[target] = 1;
                path.push((target, 0));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The length of the longest path to each node.
fn layers(n: usize, acyclic: &[(usize, usize)]) -> Vec<usize> {
    let (out, into) = adjacency(n, acyclic);
    let mut waiting: Vec<usize> = into.iter().map(Vec::len).collect();
    let mut ready: Vec<usize> = (0..n).filter(|&i| waiting[i] == 0).collect();
    let mut layer = vec![0; n];
    while let Some(node) = ready.pop() {
        for &target in &out[node] {
            layer[target] = layer[target].max(layer[node] + 1);
            waiting[target] -= 1;
            if waiting[target] == 0 {
                ready.push(target);
            }
        }
    }
    // A source stands right before the first node that it leads to, so that no edge is longer than it must be.
    for node in 0..n {
        if into[node].is_empty()
            && let Some(nearest) = out[node].iter().map(|&t| layer[t]).min()
        {
            layer[node] = nearest - 1;
        }
    }
    layer
}

/// The `y` of each node: neighbours near each other, one unit apart.
fn positions(layer: &[usize], acyclic: &[(usize, usize)], order: &[usize]) -> Vec<f64> {
    let n = layer.len();
    let depth = layer.iter().max().map_or(0, |m| m + 1);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); depth];
    for &i in order {
        rows[layer[i]].push(i);
    }
    let (out, into) = adjacency(n, acyclic);
    let mut y = vec![0.0; n];
    for row in &rows {
        place(row, &mut y);
    }
    for sweep in 0..SWEEPS {
        let forth = sweep % 2 == 0;
        let neighbours = if forth { &into } else { &out };
        let mut arrange = |row: &mut Vec<usize>| {
            let wanted: HashMap<usize, f64> = row.iter().map(|&i| (i, barycenter(&neighbours[i], &y, y[i]))).collect();
            // The sort is stable: nodes that want one place keep their order.
            row.sort_by(|a, b| wanted[a].total_cmp(&wanted[b]));
            place(row, &mut y);
        };
        if forth { rows.iter_mut().for_each(&mut arrange) } else { rows.iter_mut().rev().for_each(&mut arrange) }
    }
    y
}

fn barycenter(neighbours: &[usize], y: &[f64], own: f64) -> f64 {
    if neighbours.is_empty() {
        return own;
    }
    neighbours.iter().map(|&n| y[n]).sum::<f64>() / neighbours.len() as f64
}

/// One unit apart, centred on 0.
fn place(row: &[usize], y: &mut [f64]) {
    let middle = (row.len() as f64 - 1.0) / 2.0;
    for (at, &i) in row.iter().enumerate() {
        y[i] = at as f64 - middle;
    }
}

#[cfg(test)]
mod tests {
    use orrery_api::{EdgeKind, NodeKind};

    use super::*;

    fn graph(ids: &[&str], pairs: &[(&str, &str)]) -> (Vec<Node>, Vec<Edge>) {
        let node = |id: &&str| Node {
            id: (*id).to_owned(),
            kind: NodeKind::Service,
            name: (*id).to_owned(),
            namespace: None,
            system: None,
            calls: 0,
            errors: 0,
            x: 0.0,
            y: 0.0,
        };
        let edge = |(source, target): &(&str, &str)| Edge {
            id: format!("{source}-{target}"),
            source: (*source).to_owned(),
            target: (*target).to_owned(),
            kind: EdgeKind::Call,
            calls: 1,
            errors: 0,
            unpaired: 0,
            estimated_calls: 1.0,
            sum_ns: 0,
            p50_ns: 0,
            p95_ns: 0,
            p99_ns: 0,
            client_p50_ns: None,
            client_p95_ns: None,
            exemplars: vec![],
        };
        (ids.iter().map(node).collect(), pairs.iter().map(edge).collect())
    }

    fn layers_of(ids: &[&str], pairs: &[(&str, &str)]) -> Vec<f64> {
        let (mut nodes, edges) = graph(ids, pairs);
        layout(&mut nodes, &edges);
        nodes.iter().map(|n| n.x).collect()
    }

    #[test]
    fn layers_follow_the_longest_path_and_cycles_are_taken() {
        assert_eq!(layers_of(&["a", "b", "c"], &[("a", "b"), ("b", "c"), ("a", "c")]), [0.0, 1.0, 2.0]);
        assert_eq!(layers_of(&["a", "b", "user"], &[("user", "a"), ("a", "b"), ("b", "a")]), [1.0, 2.0, 0.0]);
        assert_eq!(layers_of(&["a", "b"], &[("a", "b"), ("b", "a"), ("a", "a")]), [0.0, 1.0]);
        assert_eq!(layers_of(&["a", "b", "c", "late"], &[("a", "b"), ("b", "c"), ("late", "c")]), [0.0, 1.0, 2.0, 1.0]);
        assert!(layers_of(&[], &[]).is_empty());
    }

    #[test]
    fn positions_are_distinct_in_a_layer_and_do_not_depend_on_the_order_of_input() {
        let names: Vec<String> = (0..1000).map(|i| format!("n{i:04}")).collect();
        let ids: Vec<&str> = names.iter().map(String::as_str).collect();
        let pairs: Vec<(&str, &str)> =
            (0..5000_usize).map(|i| (ids[i % 1000], ids[(i * 7919 + i / 1000 * 31 + 1) % 1000])).collect();
        let (mut nodes, mut edges) = graph(&ids, &pairs);
        layout(&mut nodes, &edges);
        let mut places: Vec<(i64, i64)> = nodes.iter().map(|n| (n.x as i64, (n.y * 2.0) as i64)).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), nodes.len());
        let before = nodes.clone();
        edges.reverse();
        layout(&mut nodes, &edges);
        assert_eq!(before, nodes);
    }
}
