//! Compresses the answers of the API by gzip where the client takes that. A streamed answer stays one: what is there is
//! sent, compressed, and never waited with.

use std::io::Write;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt, TryStreamExt, stream};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, VARY};
use http::{HeaderMap, Method};

/// Shorter answers gain nothing.
const MIN_BYTES: u64 = 1_400;
/// What is compressed before others get their turn.
const PIECE_BYTES: usize = 64 << 10;

/// The middleware.
pub async fn gzip(request: Request, next: Next) -> Response {
    let wanted = request.method() != Method::HEAD && takes(request.headers(), "gzip");
    let mut response = next.run(request).await;
    let known = response.body().size_hint().exact();
    if !is_text(response.headers()) || known.is_some_and(|bytes| bytes < MIN_BYTES) {
        return response;
    }
    response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    if !wanted {
        return response;
    }
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().remove(CONTENT_LENGTH);
    response.map(|body| compressed(body, known.is_none()))
}

/// Whether an encoding is among those that the client takes, `q=0` being its refusal.
pub fn takes(headers: &HeaderMap, encoding: &str) -> bool {
    let refused = |parameters: &str| {
        let quality = parameters.split(';').find_map(|p| p.trim().strip_prefix("q="));
        quality.is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|q| q == 0.0))
    };
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| {
        let (name, parameters) = item.trim().split_once(';').unwrap_or((item.trim(), ""));
        name.trim().eq_ignore_ascii_case(encoding) && !refused(parameters)
    })
}

/// What the API answers in text. The dashboard's own files are compressed when it is built, Arrow and Parquet by
/// themselves.
fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    !headers.contains_key(CONTENT_ENCODING)
        && matches!(kind, "application/json" | "application/x-ndjson" | "text/csv" | "text/plain")
}

/// `flushed`: each part is made readable on its own, for a client that reads rows as they come.
fn compressed(body: Body, flushed: bool) -> Body {
    let pieces = body.into_data_stream().map_ok(|data| stream::iter(split(data)).map(Ok)).try_flatten();
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = stream::try_unfold((pieces.boxed(), Some(encoder)), move |(mut pieces, encoder)| async move {
        let Some(mut encoder) = encoder else { return Ok::<_, axum::Error>(None) };
        let Some(piece) = pieces.next().await.transpose()? else {
            let rest = encoder.finish().map_err(axum::Error::new)?;
            return Ok(Some((Bytes::from(rest), (pieces, None))));
        };
        encoder.write_all(&piece).map_err(axum::Error::new)?;
        if flushed {
            encoder.flush().map_err(axum::Error::new)?;
        }
        let packed = std::mem::take(encoder.get_mut());
        tokio::task::yield_now().await;
        Ok(Some((Bytes::from(packed), (pieces, Some(encoder)))))
    });
    Body::from_stream(packed.try_filter(|packed| std::future::ready(!packed.is_empty())))
}

fn split(mut data: Bytes) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(data.len().div_ceil(PIECE_BYTES));
    while !data.is_empty() {
        pieces.push(data.split_to(data.len().min(PIECE_BYTES)));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use axum::Router;
    use axum::routing::get;
    use flate2::read::GzDecoder;
    use tower::ServiceExt;

    use super::*;

    const JSON: [(http::HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

    fn router() -> Router {
        let long = "[1,2,3]".repeat(100_000);
        let parts = long.as_bytes().chunks(10_007).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        Router::new()
            .route("/long", get((JSON, long)))
            .route("/short", get((JSON, "[]")))
            .route("/arrow", get(([(CONTENT_TYPE, "application/vnd.apache.arrow.stream")], "x".repeat(5_000))))
            .route(
                "/streamed",
                get(move || async move { (JSON, Body::from_stream(stream::iter(parts).map(Ok::<_, axum::Error>))) }),
            )
            .layer(axum::middleware::from_fn(gzip))
    }

    async fn ask(path: &str, accept: &str) -> (HeaderMap, Vec<u8>) {
        let request = Request::get(path).header(ACCEPT_ENCODING, accept).body(Body::empty()).unwrap();
        let response = router().oneshot(request).await.unwrap();
        let headers = response.headers().clone();
        (headers, axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
    }

    #[tokio::test]
    async fn what_comes_out_is_what_went_in() {
        for path in ["/long", "/streamed"] {
            let (headers, packed) = ask(path, "br, gzip;q=0.8").await;
            assert_eq!(headers[CONTENT_ENCODING], "gzip", "{path}");
            assert!(!headers.contains_key(CONTENT_LENGTH), "{path}");
            assert!(packed.len() < 70_000, "{path}: {} bytes", packed.len());
            let mut plain = String::new();
            GzDecoder::new(&packed[..]).read_to_string(&mut plain).unwrap();
            assert!(plain == "[1,2,3]".repeat(100_000), "{path}: {} bytes", plain.len());
        }
    }

    #[tokio::test]
    async fn only_what_gains_and_only_where_it_is_taken() {
        for (path, accept) in [("/short", "gzip"), ("/arrow", "gzip"), ("/long", "br"), ("/long", "gzip;q=0, br")] {
            let (headers, _) = ask(path, accept).await;
            assert!(!headers.contains_key(CONTENT_ENCODING), "{path} {accept}");
        }
        assert_eq!(ask("/long", "br").await.0[VARY], "accept-encoding");
    }
}
