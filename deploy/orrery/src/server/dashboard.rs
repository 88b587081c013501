//! Serves the embedded dashboard: its files by name, precompressed where the browser takes that, and `index.html` for
//! every page of the dashboard's own. Reads no file at run time.

use axum::Router;
use axum::body::Body;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, StatusCode, Uri};
use orrery_api::{ApiError, ErrorBody};

use super::compress::takes;

/// One embedded file.
pub struct File {
    /// From the root: `/assets/orrery.js`.
    path: &'static str,
    content_type: &'static str,
    etag: &'static str,
    plain: &'static [u8],
    gzip: Option<&'static [u8]>,
    brotli: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// Scripts, styles, fonts and requests from here only; nothing inline, no frame, no plug-in.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; font-src 'self'; \
                      img-src 'self' data: blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const NOT_BUILT: &str = "<!doctype html><html lang=en><title>Orrery</title><h1>The dashboard is not built</h1>\
                         <p>This binary was built without it. Run <code>cargo xtask run</code> in a checkout, which \
                         builds both.<p>The API is there: <a href=/api/v1/status>/api/v1/status</a>.";

/// Sent with every answer of the dashboard's port.
pub const HEADERS: [(&str, &str); 7] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

pub fn router() -> Router {
    Router::new().fallback(get(file))
}

/// Adds what every answer of the port carries.
pub fn secure(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

pub async fn file(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    if let Some(file) = FILES.iter().find(|file| file.path == path) {
        return send(file, &headers);
    }
    // A path with an ending names a file; one without is a page, which the dashboard itself finds its way to.
    let last = path.rsplit('/').next().unwrap_or_default();
    let names_a_file = path.starts_with("/assets/") || (last.contains('.') && !path.starts_with("/services/"));
    if path.starts_with("/api/") || names_a_file {
        return missing(path);
    }
    match FILES.iter().find(|file| file.path == "/index.html") {
        Some(index) => send(index, &headers),
        None => Html(NOT_BUILT).into_response(),
    }
}

fn missing(path: &str) -> Response {
    let error = ApiError {
        code: "not_found".to_owned(),
        message: format!("there is nothing at {}", path.chars().take(200).collect::<String>()),
        hint: None,
    };
    (StatusCode::NOT_FOUND, axum::Json(ErrorBody { error })).into_response()
}

/// Names do not change with content, so a browser keeps a file but asks each time whether it is still the one.
fn send(file: &File, request: &HeaderMap) -> Response {
    let known = request.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (encoding, body) = choose(file, request);
    let mut response = if known.split(',').any(|etag| etag.trim().trim_start_matches("W/") == file.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(body))
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    headers.insert(ETAG, HeaderValue::from_static(file.etag));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(encoding) = encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// The smallest form that the browser takes.
fn choose(file: &File, request: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
    match (file.brotli, file.gzip) {
        (Some(brotli), _) if takes(request, "br") => (Some("br"), brotli),
        (_, Some(gzip)) if takes(request, "gzip") => (Some("gzip"), gzip),
        _ => (None, file.plain),
    }
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT_ENCODING;

    use super::*;

    #[test]
    fn the_smallest_accepted_form_is_sent() {
        let file = File {
            path: "/a",
            content_type: "text/plain",
            etag: "\"1\"",
            plain: b"plain",
            gzip: Some(b"gzip"),
            brotli: Some(b"br"),
        };
        for (accepted, encoding) in [
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip", Some("gzip")),
            ("br;q=0, gzip;q=0.5", Some("gzip")),
            ("identity", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, accepted.parse().expect("a header value"));
            assert_eq!(choose(&file, &headers).0, encoding, "{accepted}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(send(&file, &headers).status(), StatusCode::OK);
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("\"0\", W/\"1\""));
        assert_eq!(send(&file, &headers).status(), StatusCode::NOT_MODIFIED);
    }

    #[tokio::test]
    async fn pages_get_the_index_and_unknown_files_do_not() {
        for (path, status) in [("/trace/abc", 200), ("/services/a.b.c", 200), ("/assets/x.js", 404), ("/api/v9", 404)] {
            let response = file(path.parse().expect("a path"), HeaderMap::new()).await;
            assert_eq!(response.status().as_u16(), status, "{path}");
        }
    }
}
