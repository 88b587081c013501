//! The demo: a shop that lives beside the server and fills it over the real OTLP port with all that the pages show.

use serde_json::Value;

use crate::server::{Folder, Server, poll};

fn kinds<'a>(list: &'a Value, kind: &str) -> Vec<&'a str> {
    let all = list.as_array().into_iter().flatten();
    all.filter(|item| item["kind"] == kind).filter_map(|item| item["id"].as_str()).collect()
}

#[test]
fn the_shop_fills_the_map() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["demo", "--rate", "40"]);
    let graph = poll("a map of the whole shop", || {
        let graph = server.get_json("/api/v1/service-graph");
        let enough = kinds(&graph["nodes"], "service").len() >= 9
            && kinds(&graph["nodes"], "database").len() >= 2
            && kinds(&graph["nodes"], "messaging").len() >= 2
            && kinds(&graph["edges"], "external").len() >= 2;
        enough.then_some(graph)
    });
    let external = kinds(&graph["nodes"], "external");
    assert!(external.contains(&"external:api.payments.example.com"), "{external:?}");
    assert!(!kinds(&graph["edges"], "entry").is_empty(), "visitors come in at the gateway");
    assert!(server.count("select count(*) from spans where kind = 'CONSUMER' and cardinality(links) = 1") > 0);
    poll("an order that failed", || {
        (server.count("select count(*) from spans where status_code = 'ERROR' and service_name = 'payment'") > 0)
            .then_some(())
    });
    let logged = "select count(distinct service_name) from logs where trace_id is not null";
    poll("logs of spans", || (server.count(logged) >= 4).then_some(()));
    let measured = "select count(distinct metric_name) from metrics where service_name = 'gateway'";
    poll("metrics", || (server.count(measured) >= 1).then_some(()));
    assert!(server.stop().success(), "{}", folder.log());
}
