//! The address bar's query: parameters in order, percent-encoded both ways. Everything on screen is in it. Never knows
//! what a parameter means.

/// Parameters in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `?a=1&b=two` with or without the question mark; the last of equal names wins.
    pub fn parse(search: &str) -> Query {
        let mut query = Query::default();
        for pair in search.trim_start_matches('?').split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            query.set(&decode(name), Some(&decode(value)));
        }
        query
    }

    /// `None` also where the value is empty: an empty parameter says nothing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// Sets, replaces in place, or with `None` or an empty value removes.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        let value = value.filter(|v| !v.is_empty());
        let at = self.0.iter().position(|(n, _)| n == name);
        match (at, value) {
            (Some(at), Some(value)) => self.0[at].1 = value.to_owned(),
            (Some(at), None) => {
                self.0.remove(at);
            }
            (None, Some(value)) => self.0.push((name.to_owned(), value.to_owned())),
            (None, None) => {}
        }
        self
    }

    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        self.set(name, value);
        self
    }

    /// Only the named parameters.
    pub fn only(&self, names: &[&str]) -> Query {
        Query(self.0.iter().filter(|(n, _)| names.contains(&n.as_str())).cloned().collect())
    }

    /// `path?…`, or the path alone where there is nothing to say.
    pub fn href(&self, path: &str) -> String {
        if self.0.is_empty() { path.to_owned() } else { format!("{path}?{}", self.encode()) }
    }

    /// Without the question mark.
    pub fn encode(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
        pairs.join("&")
    }
}

/// Percent-encodes what a query value or one path segment may not hold. Spaces are `%20`, so the same text serves both.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'_'
            | b'.'
            | b'~'
            | b':'
            | b','
            | b'('
            | b')'
            | b'*'
            | b'!' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The inverse; `+` is a space, a broken escape stands for itself.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()))
            .flatten();
        match escaped {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_survives_the_round_trip() {
        let filter = "service_name = 'café' AND attributes['http.route'] = '/pay?x=1&y=%20+'";
        let query = Query::default().with("start", Some("-45m")).with("filter", Some(filter)).with("empty", Some(""));
        let again = Query::parse(&format!("?{}", query.encode()));
        assert_eq!(again, query);
        assert_eq!(again.get("filter"), Some(filter));
        assert_eq!(again.get("empty"), None);
        assert_eq!(query.only(&["start"]).href("/map"), "/map?start=-45m");
        assert_eq!(Query::default().href("/map"), "/map");
    }

    #[test]
    fn broken_escapes_stand_for_themselves() {
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz+a%2Fb"), "%zz a/b");
    }
}
