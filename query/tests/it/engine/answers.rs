//! `POST /api/v1/sql` in every format, and what errors look like.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use orrery_model::{Identity, Role, TenantId};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::fixture::{self, Placement};

async fn ask(method: &str, path: &str, body: String, role: Option<Role>) -> (StatusCode, String, Vec<u8>) {
    let (engine, _folder) = fixture::engine(Placement::Half);
    let mut request = Request::builder().method(method).uri(path).body(Body::from(body)).expect("a request");
    if let Some(role) = role {
        request.extensions_mut().insert(Identity { tenant: TenantId::default(), role });
    }
    let response = orrery_query::router(Arc::clone(&engine)).oneshot(request).await.expect("infallible");
    let status = response.status();
    let kind = response.headers().get("content-type").map_or("", |v| v.to_str().expect("ASCII")).to_owned();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a whole body");
    (status, kind, bytes.to_vec())
}

async fn sql(query: &str, format: &str) -> (StatusCode, String, Vec<u8>) {
    ask("POST", "/api/v1/sql", json!({"query": query, "format": format}).to_string(), None).await
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)))
}

#[tokio::test]
async fn json_has_columns_rows_and_a_receipt() {
    let query = "SELECT timestamp, duration_ns, attributes, attributes['load'] + 0, name = 's01' AS first, \
                 [1, NULL] AS list, {'a': 1, 'b': 'x'} AS record, CAST(1.5 AS DECIMAL(4, 2)) AS decimal, NULL AS nothing \
                 FROM spans WHERE name IN ('s01', 's12') ORDER BY name";
    let (status, kind, body) = sql(query, "json").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"), "{}", String::from_utf8_lossy(&body));
    let answer = parsed(&body);
    assert_eq!(answer["columns"][0], json!({"name": "timestamp", "type": "TIMESTAMP_NS"}));
    assert_eq!(answer["columns"][1], json!({"name": "duration_ns", "type": "BIGINT"}));
    assert_eq!(answer["columns"][2], json!({"name": "attributes", "type": "MAP(VARCHAR, VARCHAR)"}));
    assert_eq!(answer["columns"][3], json!({"name": "attributes['load'] + 0", "type": "DOUBLE"}));
    let first = json!([
        "2024-01-01T00:00:01.000000000Z",
        100,
        {"http.request.method": "GET", "http.response.status_code": "200", "http.route": "/cart", "user.id": "7", "load": "0.5"},
        0.5,
        true,
        [1, null],
        {"a": 1, "b": "x"},
        1.5,
        null
    ]);
    assert_eq!(answer["rows"][0], first);
    assert_eq!(answer["rows"][1][1], Value::Null);
    assert_eq!(answer["rows"].as_array().expect("rows").len(), 2);
    assert!(answer["receipt"]["elapsed_ms"].as_f64().expect("a number") > 0.0);
    for key in ["rows_scanned", "bytes_scanned", "files", "files_pruned"] {
        assert!(answer["receipt"][key].is_u64(), "{key}");
    }
    // Six rows are in memory; of those in files, pages without the names are left out.
    assert!((7..=12).contains(&answer["receipt"]["rows_scanned"].as_u64().expect("a number")));
    assert_eq!(answer["receipt"]["files"], 2);
}

#[tokio::test]
async fn doubles_that_json_has_not_are_words() {
    let (_, _, body) =
        sql("SELECT value, -value FROM metrics WHERE metric_name = 'cpu' ORDER BY timestamp", "json").await;
    assert_eq!(parsed(&body)["rows"], json!([[0.5, -0.5], ["NaN", "NaN"], ["Infinity", "-Infinity"]]));
}

#[tokio::test]
async fn empty_answers_have_their_shape_in_every_format() {
    let (_, _, body) = sql("SELECT name FROM spans WHERE false", "json").await;
    let answer = parsed(&body);
    assert_eq!((&answer["rows"], &answer["columns"][0]["name"]), (&json!([]), &json!("name")));
    assert_eq!(sql("SELECT name FROM spans WHERE false", "csv").await.2, b"name\r\n");
    assert_eq!(sql("SELECT name FROM spans WHERE false", "ndjson").await.2, b"");
}

#[tokio::test]
async fn csv_is_rfc_4180() {
    let (status, kind, body) =
        sql("SELECT body, severity_number AS \"a,b\", trace_id, '' AS empty, value FROM logs, (SELECT 'x\ny' AS value) WHERE severity_number = 17", "csv").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "text/csv; charset=utf-8; header=present"));
    let expected = "body,\"a,b\",trace_id,empty,value\r\n\
                    \"payment REFUSED, \"\"no funds\"\"\",17,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,\"\",\"x\ny\"\r\n";
    assert_eq!(String::from_utf8(body).expect("UTF-8"), expected);
}

#[tokio::test]
async fn ndjson_is_an_object_a_line() {
    let (_, kind, body) = sql("SELECT name, duration_ns FROM spans WHERE name > 's10' ORDER BY name", "ndjson").await;
    assert_eq!(kind, "application/x-ndjson");
    assert_eq!(body, b"{\"name\":\"s11\",\"duration_ns\":1100}\n{\"name\":\"s12\",\"duration_ns\":null}\n");
}

#[tokio::test]
async fn arrow_and_parquet_hold_the_same_rows() {
    let query = "SELECT * FROM spans ORDER BY name";
    let (status, _, arrow) = sql(query, "arrow").await;
    assert_eq!(status, StatusCode::OK);
    let from_arrow: Vec<_> = arrow::ipc::reader::StreamReader::try_new(arrow.as_slice(), None)
        .expect("a stream")
        .map(|b| b.expect("a batch"))
        .collect();
    let (status, _, parquet) = sql(query, "parquet").await;
    assert_eq!(status, StatusCode::OK);
    let from_parquet: Vec<_> =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes::Bytes::from(parquet), 1024)
            .expect("a file")
            .map(|b| b.expect("a batch"))
            .collect();
    let rows = |batches: &[_]| orrery_query::formats::json_rows(batches).expect("rows");
    assert_eq!(rows(&from_arrow).len(), 12);
    assert_eq!(rows(&from_arrow), rows(&from_parquet));
}

#[tokio::test]
async fn errors_have_a_code_and_a_hint() {
    let post = |body: &str, role| ask("POST", "/api/v1/sql", body.to_owned(), role);
    let query = |sql: &str| json!({"query": sql}).to_string();
    let cases = [
        (post("not json", None).await, StatusCode::BAD_REQUEST, "bad_request", false),
        (
            post("{\"query\": \"SELECT 1\", \"format\": \"xml\"}", None).await,
            StatusCode::BAD_REQUEST,
            "bad_request",
            false,
        ),
        (post(&query("DROP TABLE spans"), None).await, StatusCode::BAD_REQUEST, "bad_request", true),
        (post(&query("SELECT * FROM 'x.parquet'"), None).await, StatusCode::BAD_REQUEST, "bad_request", true),
        (post(&query("SELECT 1 / 0"), None).await, StatusCode::BAD_REQUEST, "bad_request", false),
        (
            post(&query("SELECT CAST(name AS INT) FROM spans"), None).await,
            StatusCode::BAD_REQUEST,
            "bad_request",
            false,
        ),
        (post(&query("SELECT 1"), Some(Role::Ingest)).await, StatusCode::FORBIDDEN, "forbidden", false),
        (post(&query("SELECT 1"), Some(Role::Read)).await, StatusCode::OK, "", false),
        (ask("GET", "/api/v1/nobody", String::new(), None).await, StatusCode::NOT_FOUND, "not_found", false),
        (ask("GET", "/api/v1/sql", String::new(), None).await, StatusCode::METHOD_NOT_ALLOWED, "bad_request", false),
        (
            ask("GET", "/api/v1/logs/tail", String::new(), None).await,
            StatusCode::NOT_IMPLEMENTED,
            "not_implemented",
            true,
        ),
    ];
    for ((status, _, body), expected, code, hinted) in cases {
        let answer = parsed(&body);
        assert_eq!(status, expected, "{answer}");
        if !code.is_empty() {
            assert_eq!(answer["error"]["code"], code, "{answer}");
            assert!(!answer["error"]["message"].as_str().expect("a message").is_empty());
            assert_eq!(answer["error"]["hint"].is_string(), hinted, "{answer}");
        }
    }
}
