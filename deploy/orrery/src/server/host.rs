//! Whether a request to the dashboard's port was meant for it. A web page anywhere can make a browser send requests to
//! this machine, and can give its own name this machine's address (DNS rebinding); both show in `Host` and `Origin`.

use std::net::IpAddr;

use axum::body::Body;
use http::Request;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;

/// The names under which the server is reached, beside IP addresses and localhost.
pub struct HostCheck {
    allowed: Vec<String>,
}

impl HostCheck {
    pub fn new(allowed: &[String]) -> Self {
        Self { allowed: allowed.iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// # Errors
    /// Says which of the two headers is wrong.
    pub fn check(&self, request: &Request<Body>) -> Result<(), String> {
        let header = |name| request.headers().get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        // HTTP/2 has the authority in the URI.
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.clone()),
            None => header(HOST).and_then(|host| host.parse::<Authority>().ok()),
        };
        let host = host.ok_or("the request has no valid host")?;
        if !self.known(host.host()) {
            return Err(format!("this server is not reached as {:?}", shown(host.host())));
        }
        if !request.headers().contains_key(ORIGIN) {
            return Ok(());
        }
        let origin = header(ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
        if origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_str())) {
            Ok(())
        } else {
            Err(format!("requests from other origins are refused: {:?}", shown(header(ORIGIN).unwrap_or("?"))))
        }
    }

    fn known(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host.ends_with(".localhost")
            || bare.parse::<IpAddr>().is_ok()
            || self.allowed.contains(&host)
    }
}

/// At most what an error message should repeat.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_servers_own_names_and_origins_pass() {
        let check = HostCheck::new(&["Orrery.example.com".to_owned()]);
        let cases = [
            ("127.0.0.1:8080", None, true),
            ("[::1]:8080", None, true),
            ("192.168.1.7:8080", None, true),
            ("localhost:8080", None, true),
            ("LOCALHOST", None, true),
            ("demo.localhost:8080", None, true),
            ("orrery.example.com", None, true),
            ("evil.example.com:8080", None, false),
            ("127.0.0.1.evil.example.com", None, false),
            ("", None, false),
            ("localhost:8080", Some("http://localhost:8080"), true),
            ("localhost:8080", Some("http://localhost:3000"), false),
            ("localhost:8080", Some("http://evil.example.com"), false),
            ("localhost:8080", Some("null"), false),
            ("evil.example.com", Some("http://evil.example.com"), false),
        ];
        for (host, origin, passes) in cases {
            let mut request = Request::builder().uri("/api/v1/sql").header(HOST, host);
            if let Some(origin) = origin {
                request = request.header(ORIGIN, origin);
            }
            let request = request.body(Body::empty()).expect("a request");
            assert_eq!(check.check(&request).is_ok(), passes, "{host:?} from {origin:?}");
        }
    }
}
