//! Trees as text: one line a span in, one line a node out.

use std::fmt::Write as _;

use super::{Tree, TreeSpan, build};
use crate::spans::Kind;

/// `id<parent kind/service start+duration`, in milliseconds; `-` for no parent, `?` for one that is missing.
fn spans(text: &str) -> Vec<TreeSpan> {
    let ms = |t: &str| (t.parse::<f64>().expect("a number") * 1e6) as i64;
    let id = |t: &str| if t == "-" { 0 } else { t.bytes().fold(0_u64, |n, b| n * 256 + u64::from(b)) };
    let span = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (own, parent) = words[0].split_once('<').expect("id<parent");
        let (kind, service) = words[1].split_once('/').expect("kind/service");
        let (start, duration) = words[2].split_once('+').expect("start+duration");
        let kind = match kind {
            "S" => Kind::Server,
            "C" => Kind::Client,
            "P" => Kind::Producer,
            _ => Kind::Internal,
        };
        let service = u32::from(service.as_bytes()[0]);
        TreeSpan { span: id(own), parent: id(parent), kind, service, start_ns: ms(start), duration_ns: ms(duration) }
    };
    text.lines().map(str::trim).filter(|l| !l.is_empty()).map(span).collect()
}

fn shown(input: &[TreeSpan], tree: &Tree) -> String {
    let ms = |ns: i64| ns as f64 / 1e6;
    let mut text = String::new();
    for node in &tree.nodes {
        let id: Vec<u8> = input[node.span].span.to_be_bytes().into_iter().filter(|b| *b > 0).collect();
        let kind = &input[node.span].kind.word()[..1];
        write!(
            text,
            "{}{} {kind} sub={} self={}",
            "  ".repeat(node.depth as usize),
            String::from_utf8_lossy(&id),
            node.subtree,
            ms(node.self_ns)
        )
        .expect("a string takes all");
        for (start, duration) in &node.critical {
            write!(text, " [{}+{}]", ms(*start), ms(*duration)).expect("a string takes all");
        }
        text.push_str(if node.missing_parent { " missing" } else { "" });
        text.push_str(if node.clock_skew { " skew" } else { "" });
        text.push('\n');
    }
    writeln!(
        text,
        "{}+{} complete={:.2} copies={}",
        ms(tree.start_ns),
        ms(tree.end_ns - tree.start_ns),
        tree.completeness,
        tree.copies
    )
    .expect("a string takes all");
    text
}

fn check(name: &str, input: &str, expected: &str) {
    let input = spans(input);
    let found = shown(&input, &build(&input));
    let lines =
        |t: &str| t.lines().map(str::trim_end).filter(|l| !l.trim().is_empty()).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&found), lines(expected), "{name}:\n{found}");
}

#[test]
fn shapes() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "one after the other, with gaps",
            "a<- S/x 0+10\n b<a I/x 1+3\n c<a I/x 5+4",
            &[
                "a S sub=3 self=3 [0+1] [4+1] [9+1]",
                "  b I sub=1 self=3 [1+3]",
                "  c I sub=1 self=4 [5+4]",
                "0+10 complete=1.00 copies=0",
            ],
        ),
        (
            "in parallel: only the last to finish is critical, self time subtracts the union",
            "a<- S/x 0+10\n b<a I/x 1+6\n c<a I/x 2+7",
            &[
                "a S sub=3 self=2 [0+2] [9+1]",
                "  b I sub=1 self=6",
                "  c I sub=1 self=7 [2+7]",
                "0+10 complete=1.00 copies=0",
            ],
        ),
        (
            "a child outlives its parent: cut for the path, whole for itself",
            "a<- S/x 0+4\n b<a I/x 1+9",
            &["a S sub=2 self=1 [0+1]", "  b I sub=1 self=9 [1+3]", "0+10 complete=1.00 copies=0"],
        ),
        (
            "a child after its parent is not on the path",
            "a<- P/x 0+4\n b<a I/y 5+9",
            &["a P sub=2 self=4 [0+4]", "  b I sub=1 self=9", "0+14 complete=1.00 copies=0"],
        ),
        (
            "orphans come after the root, in time order",
            "c<? I/x 5+1\n b<? I/x 3+1\n a<- S/x 4+9",
            &[
                "a S sub=1 self=9 [4+9]",
                "b I sub=1 self=1 missing",
                "c I sub=1 self=1 missing",
                "3+10 complete=0.00 copies=0",
            ],
        ),
        (
            "a server that shares its client's id is the client's child, its own children are its",
            "s<a S/y 1+2\n a<- S/x 0+9\n s<a C/x 1+3\n t<s I/y 2+1",
            &[
                "a S sub=4 self=6 [0+1] [4+5]",
                "  s C sub=3 self=1 [3+1]",
                "    s S sub=2 self=1 [1+1]",
                "      t I sub=1 self=1 [2+1]",
                "0+9 complete=1.00 copies=0",
            ],
        ),
        (
            "copies are shown once, the first one",
            "a<- S/x 0+9\n b<a I/x 1+1\n b<a I/x 1+5\n b<a I/x 1+1",
            &["a S sub=2 self=8 [0+1] [2+7]", "  b I sub=1 self=1 [1+1]", "0+9 complete=1.00 copies=2"],
        ),
        (
            "a cycle is cut at its earliest span, and hangs together below it",
            "c<b I/x 3+1\n b<a I/x 1+9\n a<c I/x 2+5\n d<a I/x 2+1",
            &[
                "b I sub=4 self=8 [1+2] [4+6]",
                "  c I sub=3 self=0",
                "    a I sub=2 self=4 [3+1]",
                "      d I sub=1 self=1",
                "1+9 complete=1.00 copies=0",
            ],
        ),
        (
            "a span that names itself is an orphan",
            "a<a I/x 0+1",
            &["a I sub=1 self=1 [0+1] missing", "0+1 complete=0.00 copies=0"],
        ),
        (
            "clocks: before the parent, and a server after its client; a timeout is no skew",
            "a<- C/x 10+5\n b<a S/y 2+4\n c<a S/y 12+4.5\n d<a S/y 11+30\n e<a S/y 9.5+1",
            &[
                "a C sub=5 self=0.5 [10.5+0.5]",
                "  b S sub=1 self=4 skew",
                "  e S sub=1 self=1 [10+0.5]",
                "  d S sub=1 self=30 [11+4]",
                "  c S sub=1 self=4.5 skew",
                "2+39 complete=1.00 copies=0",
            ],
        ),
        (
            "no durations at all",
            "a<- I/x 5+0\n b<a I/x 5+0",
            &["a I sub=2 self=0", "  b I sub=1 self=0", "5+0 complete=1.00 copies=0"],
        ),
        ("nothing", "", &["0+0 complete=1.00 copies=0"]),
    ];
    for (name, input, expected) in cases {
        check(name, input, &expected.join("\n"));
    }
}

#[test]
fn fifty_thousand_spans_of_any_shape_are_quick_and_the_path_covers_the_root() {
    let n = 50_000_u64;
    type Shape = (&'static str, fn(u64) -> u64);
    let shapes: [Shape; 4] = [
        ("chain", |i| i),
        ("star", |_| 1),
        ("binary", |i| i.div_ceil(2)),
        ("cycle", |i| if i == 0 { 50_000 } else { i }),
    ];
    for (name, parent) in shapes {
        let spans: Vec<TreeSpan> = (0..n)
            .map(|i| TreeSpan {
                span: i + 1,
                parent: if i == 0 && name != "cycle" { 0 } else { parent(i) },
                kind: Kind::Internal,
                service: 0,
                start_ns: i as i64 * 10,
                duration_ns: (n - i) as i64 * 7,
            })
            .collect();
        let started = std::time::Instant::now();
        let tree = build(&spans);
        assert!(started.elapsed().as_millis() < 500, "{name} took {:?}", started.elapsed());
        assert_eq!(tree.nodes.len(), 50_000, "{name}");
        assert_eq!(tree.nodes[0].subtree, 50_000, "{name}");
        let path: i64 = tree.nodes.iter().flat_map(|n| n.critical.iter().map(|p| p.1)).sum();
        assert_eq!(path, spans[tree.nodes[0].span].duration_ns, "{name}");
    }
}
