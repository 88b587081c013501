//! Labels: what names they may have, and the fingerprint that tells one alert from another. Never says where labels come
//! from.

use std::fmt;

use orrery_api::Labels;
use xxhash_rust::xxh3::Xxh3Default;

/// The label that has the rule's name.
pub const ALERT_NAME: &str = "alertname";

/// Whether a label or an annotation may have this name, as Prometheus and Alertmanager have it.
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name != "__name__"
}

/// What an alert is recognised by: XXH3-64 over its labels in the order of their names, each name and value with its
/// length before it. The same on every machine and in every version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    pub fn of(labels: &Labels) -> Self {
        let mut hasher = Xxh3Default::new();
        for text in labels.iter().flat_map(|(name, value)| [name, value]) {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        Self(hasher.digest())
    }

    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The service's id where labels name one: `service_name` or `service`, with `service_namespace` before it.
pub fn service(labels: &Labels) -> Option<String> {
    let name = labels.get("service_name").or_else(|| labels.get("service"))?;
    match labels.get("service_namespace") {
        Some(namespace) => Some(format!("{namespace}/{name}")),
        None => Some(name.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn names_are_prometheus_own() {
        for name in ["a", "_", "service_name", "Le3", "__x"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "3a", "a-b", "a.b", "ä", "a b", "__name__"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn fingerprints_tell_labels_apart_and_stay() {
        let of = |pairs: &[(&str, &str)]| Fingerprint::of(&labels(pairs));
        let all = [
            of(&[]),
            of(&[("a", "b")]),
            of(&[("a", "c")]),
            of(&[("ab", "")]),
            of(&[("a", "b"), ("c", "d")]),
            of(&[("a", "bc"), ("d", "")]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|b| a != b), "{i}");
            assert_eq!(Fingerprint::parse(&a.to_string()), Some(*a));
        }
        // Stored in the lake and known to notifiers, so it is what it was.
        assert_eq!(of(&[("alertname", "Down"), ("service_name", "cart")]).to_string(), "df8da8f3a294d562");
        assert_eq!(Fingerprint::parse("xyz"), None);
    }

    #[test]
    fn services_are_found_by_their_labels() {
        let of = |pairs: &[(&str, &str)]| service(&labels(pairs));
        assert_eq!(of(&[("service_name", "cart")]).as_deref(), Some("cart"));
        assert_eq!(of(&[("service", "cart"), ("service_namespace", "shop")]).as_deref(), Some("shop/cart"));
        assert_eq!(of(&[("service_name", "a"), ("service", "b")]).as_deref(), Some("a"));
        assert_eq!(of(&[("namespace", "shop")]), None);
    }
}
