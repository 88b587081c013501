//! `GET /api/v1/openapi.json`: the description of this API, written by hand. A test holds it against the list of routes
//! and against the parameters that each path takes. What lies under `lake/` the server answers, and tests.

use axum::response::{IntoResponse, Response};
use http::header;

const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /api/v1/openapi.json`.
pub async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::DOCUMENT;
    use crate::router::routes;

    fn parsed() -> Value {
        serde_json::from_str(DOCUMENT).expect("the document is JSON")
    }

    #[test]
    fn the_document_describes_exactly_the_routes() {
        let document = parsed();
        let paths = document["paths"].as_object().expect("paths").keys();
        let described: BTreeSet<String> =
            paths.filter(|path| !path.starts_with("/lake/")).map(|path| format!("/api/v1{path}")).collect();
        // A wildcard is a plain parameter to OpenAPI.
        let routed: BTreeSet<String> = routes().iter().map(|(path, _)| path.replace("{*", "{")).collect();
        assert_eq!(described, routed);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = parsed();
        let mut waiting = vec![&document];
        while let Some(value) = waiting.pop() {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(target)) = fields.get("$ref") {
                        let pointer = target.strip_prefix('#').expect("within the document");
                        assert!(document.pointer(pointer).is_some(), "{target}");
                    }
                    waiting.extend(fields.values());
                }
                Value::Array(elements) => waiting.extend(elements),
                _ => {}
            }
        }
    }
}
