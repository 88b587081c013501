//! The rules of the service graph, a case each: spans in, edges with the very spans that each counts out. Every case is
//! asked over HTTP, in memory, in files and in both.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use orrery_api::{EdgeSpans, ServiceGraph, Trace};
use orrery_model::Signal;

use super::world::{World, at, id, merged_world, name_of, spans, world};
use crate::fixture::Placement;

pub struct Case {
    pub name: &'static str,
    /// A line a span, see `world::span`.
    pub spans: &'static [&'static str],
    /// Milliseconds.
    pub window: (i64, i64),
    pub filter: &'static str,
    pub now: i64,
    /// `kind source>target` and the counted spans' ids, then what is not as usual; at last what is odd of the whole.
    expected: &'static [&'static str],
}

const fn case(name: &'static str, spans: &'static [&'static str], expected: &'static [&'static str]) -> Case {
    Case { name, spans, window: (-1_000_000, 1_000_000), filter: "", now: 3_600_000, expected }
}

pub const CASES: &[Case] = &[
    case(
        "fan-out: three children of one parent are three calls",
        &["t r<- S shop 0+90", "t a<r S cart 1+9", "t b<r S cart 2+9", "t c<r S cart 3+9", "t d<r I stock 4+9"],
        &["call service:shop>service:cart a b c", "call service:shop>service:stock d", "entry user>service:shop r"],
    ),
    case(
        "a server under a client of its own service is a call; inner spans are none",
        &["t r<- I shop 0+90", "t c<r C shop 1+50", "t s<c S shop 2+30", "t i<s I shop 3+9"],
        &["call service:shop>service:shop s client=50"],
    ),
    case(
        "client-side latency is kept beside, an error on either side is an error",
        &[
            "t r<- S shop 0+90",
            "t c<r C shop 1+50 error",
            "t s<c S cart 2+30",
            "t d<r C shop 1+20",
            "t e<d S cart 2+10 error",
            "t f<r C shop 1+20 server.address=x",
            "t g<f S cart 2+10",
        ],
        &["call service:shop>service:cart e g s client=20 errors=2", "entry user>service:shop r"],
    ),
    case(
        "databases, by the newer names and the older, by namespace or address",
        &[
            "t r<- S shop 0+90",
            "t a<r C shop 1+9 db.system.name=postgresql db.namespace=orders server.address=pg-1",
            "t b<r C shop 2+9 db.system=postgresql db.name=orders net.peer.name=pg-2",
            "t c<r C shop 3+9 db.system.name=redis server.address=cache:6379 error",
            "t d<r C shop 4+9 db.statement=select db.system=mysql",
            "t e<r C shop 5+9 db.operation.name=get",
            "t f<r I shop 6+9 db.system.name=sqlite",
        ],
        &[
            "database service:shop>database:mysql/unknown d",
            "database service:shop>database:postgresql/orders a b",
            "database service:shop>database:redis/cache c errors=1",
            "database service:shop>database:unknown/unknown e",
            "entry user>service:shop r",
        ],
    ),
    case(
        "a database that answers with spans of its own is a call",
        &["t r<- S shop 0+90", "t c<r C shop 1+9 db.system.name=tidb", "t s<c S tidb 2+5"],
        &["call service:shop>service:tidb s client=9", "entry user>service:shop r"],
    ),
    case(
        "externals, by whatever names the host; without a name nothing",
        &[
            "t r<- S shop 0+90",
            "t a<r C shop 1+9 server.address=api.stripe.com network.peer.address=1.2.3.4",
            "t b<r C shop 1+9 url.full=https://api.stripe.com:443/v1/x",
            "t c<r C shop 1+9 net.peer.name=mail.example.org http.url=http://other/",
            "t d<r C shop 1+9 network.peer.address=10.0.0.9",
            "t e<r C shop 1+9 peer.service=legacy",
            "t f<r C shop 1+9",
        ],
        &[
            "entry user>service:shop r",
            "external service:shop>external:10.0.0.9 d",
            "external service:shop>external:api.stripe.com a b",
            "external service:shop>external:legacy e",
            "external service:shop>external:mail.example.org c",
        ],
    ),
    case(
        "a service that is down stays on the map: by name, by cluster name, by the address it once sent",
        &[
            "t r<- S shop 0+90",
            "t a<r C shop 1+9 server.address=cart error",
            "t b<r C shop 1+9 server.address=cart.prod.svc.cluster.local error",
            "t c<r C shop 1+9 peer.service=CART server.address=10.1.1.1",
            "t d<r C shop 1+9 server.address=cart.example.org error",
            "t x<r C shop 1+9 server.address=other.example.org",
            "t y<r C shop 1+9",
            "t z<y S cart 2+5",
            "u s<- S cart -500000000+5 server.address=cart.example.org",
        ],
        &[
            "call service:shop>service:cart a b c d z client=9 errors=3 unpaired=4",
            "entry user>service:shop r",
            "external service:shop>external:other.example.org x",
        ],
    ),
    case(
        "of two services of one name the caller's own namespace is meant, else none; loopback means nobody",
        &[
            "t r<- S eu/shop 0+90",
            "t a<r C eu/shop 1+9 server.address=cart",
            "t b<- C asia/shop 1+9 server.address=cart",
            "t c<r C eu/shop 1+9 server.address=localhost",
            "u d<- S eu/cart 1+9 server.address=localhost",
            "u e<- S us/cart 1+9",
        ],
        &[
            "call service:eu/shop>service:eu/cart a client=9 unpaired=1",
            "entry user>service:eu/cart d",
            "entry user>service:eu/shop r",
            "entry user>service:us/cart e",
            "external service:asia/shop>external:cart b",
            "external service:eu/shop>external:localhost c",
        ],
    ),
    case(
        "queues: each side by its own attributes, the newer names and the older",
        &[
            "t r<- S shop 0+90",
            "t p<r P shop 1+9 messaging.system=kafka messaging.destination.name=orders",
            "t k<p K mailer 20+9 messaging.system=kafka messaging.destination=orders messaging.operation=process error",
            "t q<r C shop 1+9 messaging.system=sqs messaging.destination.name=jobs messaging.operation.type=send server.address=sqs",
            "t l<q K worker 20+9 messaging.system=sqs messaging.destination.name=jobs messaging.operation.type=receive",
        ],
        &[
            "entry user>service:shop r",
            "messaging messaging:kafka/orders>service:mailer k errors=1",
            "messaging messaging:sqs/jobs>service:worker l",
            "messaging service:shop>messaging:kafka/orders p",
            "messaging service:shop>messaging:sqs/jobs q",
        ],
    ),
    case(
        "a missing destination comes from the parent, else from a link into another trace; never a present one",
        &[
            "t p<- P shop 1+9 messaging.system=kafka messaging.destination.name=orders",
            "t k<p K mailer 20+9 messaging.operation.type=process",
            "u l<- K audit 30+9 link=t/p",
            "u m<- K audit 30+9 link=t/p messaging.system=nats messaging.destination.name=other",
            "v n<- K lost 30+9",
            "v o<- K far 30+9 link=w/z",
            "w z<- P shop -2000000+9 messaging.system=kafka messaging.destination.name=old",
        ],
        &[
            "messaging messaging:kafka/old>service:far o",
            "messaging messaging:kafka/orders>service:audit l",
            "messaging messaging:kafka/orders>service:mailer k",
            "messaging messaging:nats/other>service:audit m",
            "messaging messaging:unknown/unknown>service:lost n",
            "messaging service:shop>messaging:kafka/orders p",
        ],
    ),
    case(
        "create beside its send and receive beside its process are not counted, alone they are",
        &[
            "t r<- S shop 0+90",
            "t a<r P shop 1+1 messaging.system=kafka messaging.destination.name=x messaging.operation.type=create",
            "t b<r C shop 2+1 messaging.system=kafka messaging.destination.name=x messaging.operation.type=send link=t/a",
            "u c<- P shop 1+1 messaging.system=kafka messaging.destination.name=y messaging.operation.type=create",
            "t d<a C mailer 5+1 messaging.system=kafka messaging.destination.name=x messaging.operation.type=receive",
            "t e<d K mailer 6+1 messaging.system=kafka messaging.destination.name=x messaging.operation.type=process",
            "v f<- K mailer 5+1 messaging.system=kafka messaging.destination.name=z messaging.operation.type=receive link=t/a",
            "v g<- K mailer 6+1 messaging.system=kafka messaging.destination.name=z messaging.operation.type=process link=t/a",
            "w h<- K mailer 5+1 messaging.system=kafka messaging.destination.name=w messaging.operation.type=receive",
            "w i<h I mailer 6+1",
            "w j<h C mailer 6+1 messaging.operation.type=settle",
        ],
        &[
            "entry user>service:shop r",
            "messaging messaging:kafka/w>service:mailer h",
            "messaging messaging:kafka/x>service:mailer e",
            "messaging messaging:kafka/z>service:mailer g",
            "messaging service:shop>messaging:kafka/x b",
            "messaging service:shop>messaging:kafka/y c",
        ],
    ),
    case(
        "lost spans: a child without its parent is no call and no entry, and completeness says so",
        &["t r<- S shop 0+90", "t a<r C shop 1+9", "t b<lost S cart 2+5", "t c<b I cart 3+1"],
        &["entry user>service:shop r", "completeness=0.67"],
    ),
    case(
        "copies count once, whatever batch they came in; another kind is no copy",
        &[
            "t r<- S shop 0+90",
            "t a<r C shop 1+9",
            "t b<a S cart 2+5",
            "t b<a S cart 2+5",
            "t a<r C shop 1+9",
            "t b<a S cart 2+5",
        ],
        &["call service:shop>service:cart b client=9", "entry user>service:shop r", "copies=3"],
    ),
    case(
        "of copies that differ the earliest received counts",
        &[
            "t r<- S shop 0+90",
            "t b<r S cart 2+5",
            "t b<r S cart 2+7 error",
            "t r<- S shop 0+91 error",
            "u x<- I shop 0+1",
        ],
        &["call service:shop>service:cart b", "entry user>service:shop r", "copies=2"],
    ),
    case(
        "of copies that differ the earliest received counts, though it stands last by service and time",
        &[
            "t r<- S shop 0+90",
            "t b<r S store 9+7",
            "u x<- I shop 0+1",
            "t b<r S cart 2+5 error",
            "t b<r S cart 1+5 error",
            "u y<- I shop 0+1",
        ],
        &["call service:shop>service:store b", "entry user>service:shop r", "copies=2"],
    ),
    case(
        "a server that shares its client's id is that client's child, and no root",
        &["t a<- C shop 1+9", "t a<- S cart 2+5", "t b<a I cart 3+1", "t c<a C cart 3+1 db.system=redis db.name=zero"],
        &["call service:shop>service:cart a client=9", "database service:cart>database:redis/zero c"],
    ),
    case(
        "sampled spans stand for as many as their threshold says",
        &["t r<- S shop 0+90 state=ot=th:c", "u r<- S shop 0+90 state=x=1,ot=rv:00;th:8", "v r<- S shop 0+90"],
        &["entry user>service:shop r r r estimated=7"],
    ),
    Case {
        now: 40,
        ..case(
            "a client without an answer is pending for 30 s after its end, a database is not",
            &[
                "t r<- S shop -60000+60030",
                "t a<r C shop 0+9 server.address=cart",
                "t b<r C shop -59000+28000 server.address=api",
                "t c<r C shop 0+9 db.system=redis db.name=zero",
                "t d<r C shop 0+9",
                "t e<d S cart 1+5",
            ],
            &[
                "call service:shop>service:cart e client=9",
                "database service:shop>database:redis/zero c",
                "entry user>service:shop r",
                "external service:shop>external:api b",
                "pending=1",
            ],
        )
    },
    case(
        "roots: only a server is called by the user, unless it says who called",
        &[
            "t a<- S shop 0+9 client.address=203.0.113.7",
            "u b<- I cron 0+9",
            "v c<- S shop 0+9 client.address=partner.example.org",
            "w d<- S shop 0+9 peer.service=cron",
            "x e<0000 S shop 0+9",
        ],
        &[
            "entry external:partner.example.org>service:shop c",
            "entry service:cron>service:shop d",
            "entry user>service:shop a",
            "completeness=0.00",
        ],
    ),
    Case {
        window: (0, 100),
        ..case(
            "the window tests the span that is counted; parents and children are found beyond it",
            &[
                "t a<- C shop -5+40",
                "t b<a S cart 1+20",
                "t c<b C cart 99+30",
                "t d<c S stock 101+9",
                "u e<- C shop 90+5 server.address=cart",
                "u f<e S cart 100+1",
                "w g<- C shop -400000000+9",
                "w h<g S cart 3+1",
                "x s<- C shop -9+30",
                "x s<- S cart 2+5",
            ],
            &["call service:shop>service:cart b h s client=30"],
        )
    },
    Case {
        filter: "service_name = 'cart' AND attributes['tier'] = 'gold'",
        ..case(
            "the filter tests the span that is counted, not its parent",
            &[
                "t r<- S shop 0+90 tier=gold",
                "t a<r S cart 1+9 tier=gold",
                "t b<r S cart 1+9",
                "t c<a S stock 2+9 tier=gold",
            ],
            &["call service:shop>service:cart a"],
        )
    },
    case("nothing", &["t r<- I shop 0+90"], &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_graph_follows_its_rules_wherever_the_spans_are() {
    for case in CASES {
        for placement in Placement::ALL {
            // A batch a span: copies lie in different files.
            let batches: Vec<RecordBatch> = case.spans.iter().map(|line| spans(&[line])).collect();
            let world = world(&[(Signal::Spans, batches)], placement, case.now);
            let found = shown(&world, case).await;
            assert_eq!(found, case.expected, "{} ({placement:?})", case.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_graph_and_its_traces_are_the_same_when_files_have_been_merged() {
    for case in CASES {
        let batches: Vec<RecordBatch> = case.spans.iter().map(|line| spans(&[line])).collect();
        let merged = merged_world(batches.clone(), case.now).await;
        assert_eq!(shown(&merged, case).await, case.expected, "{} (merged)", case.name);
        let apart = world(&[(Signal::Spans, batches)], Placement::Files, case.now);
        for trace in case.spans.iter().filter_map(|line| line.split(' ').next()).collect::<BTreeSet<_>>() {
            let path = format!("traces/{}", id(trace, 32));
            let of = async |world: &World| world.get::<Trace>(&path, &[]).await.spans;
            assert_eq!(of(&merged).await, of(&apart).await, "{}: trace {trace}", case.name);
        }
    }
}

/// The answer as the cases write it. Each edge's numbers are held against the spans behind it.
async fn shown(world: &World, case: &Case) -> Vec<String> {
    let (start, end) = (at(case.window.0), at(case.window.1));
    let mut asked = vec![("start", start.as_str()), ("end", end.as_str())];
    if !case.filter.is_empty() {
        asked.push(("filter", case.filter));
    }
    let graph: ServiceGraph = world.get("service-graph", &asked).await;
    let nodes: BTreeSet<&str> = graph.nodes.iter().map(|n| n.id.as_str()).collect();
    let mut lines = Vec::new();
    for edge in &graph.edges {
        assert!(nodes.contains(edge.source.as_str()) && nodes.contains(edge.target.as_str()), "{}", edge.id);
        let mut asked = asked.clone();
        asked.push(("edge", &edge.id));
        let behind: EdgeSpans = world.get("service-graph/spans", &asked).await;
        assert_eq!(behind.total, edge.calls, "{}: {}", case.name, edge.id);
        assert_eq!(behind.spans.iter().map(|s| s.duration_ns).sum::<i64>(), edge.sum_ns, "{}: {}", case.name, edge.id);
        let mut ids: Vec<String> = behind.spans.iter().map(|s| name_of(&s.span_id)).collect();
        ids.sort();
        let kind = serde_json::to_value(edge.kind).expect("a word");
        let mut line = format!("{} {}>{} {}", kind.as_str().expect("a word"), edge.source, edge.target, ids.join(" "));
        if let Some(client) = edge.client_p50_ns {
            line += &format!(" client={}", (client + 500_000) / 1_000_000);
        }
        for (name, n) in [("errors", edge.errors), ("unpaired", edge.unpaired)] {
            line += &if n > 0 { format!(" {name}={n}") } else { String::new() };
        }
        if (edge.estimated_calls - edge.calls as f64).abs() > 1e-9 {
            line += &format!(" estimated={}", edge.estimated_calls);
        }
        lines.push(line);
    }
    lines.sort();
    if graph.completeness < 1.0 {
        lines.push(format!("completeness={:.2}", graph.completeness));
    }
    lines.extend((graph.pending > 0).then(|| format!("pending={}", graph.pending)));
    lines.extend((graph.receipt.copies > 0).then(|| format!("copies={}", graph.receipt.copies)));
    lines
}
