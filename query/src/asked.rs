//! The parameters of a request, taken one by one by name; one that nobody took is refused by name. Knows no route.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::time::WindowParams;
use crate::{QueryError, Window};

/// A request's query string. A handler takes what it knows and then calls [`Asked::finish`].
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = QueryError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, QueryError> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Asked {
    pub fn parse(query: &str) -> Self {
        Self { pairs: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(), known: Vec::new() }
    }

    /// A parameter's value; one that is empty counts as absent.
    pub fn take(&mut self, name: &'static str) -> Result<Option<String>, QueryError> {
        self.known.push(name);
        let mut found = None;
        for at in (0..self.pairs.len()).rev() {
            if self.pairs[at].0 == name {
                let (_, value) = self.pairs.swap_remove(at);
                if found.is_some_and(|f| f != value) {
                    return Err(QueryError::bad_request(format!("{name} is given twice")));
                }
                found = Some(value);
            }
        }
        Ok(found.filter(|value| !value.is_empty()))
    }

    /// An integer from 1 to `max`; `default` where it is absent.
    pub fn limit(&mut self, name: &'static str, default: usize, max: usize) -> Result<usize, QueryError> {
        let Some(text) = self.take(name)? else { return Ok(default) };
        match text.parse::<usize>() {
            Ok(n) if (1..=max).contains(&n) => Ok(n),
            _ => Err(QueryError::bad_request(format!("{name}: {} is no integer from 1 to {max}", short(&text)))),
        }
    }

    /// One of a few words; the first where it is absent.
    pub fn word<T: Copy>(&mut self, name: &'static str, words: &[(&'static str, T)]) -> Result<T, QueryError> {
        let Some(text) = self.take(name)? else { return Ok(words[0].1) };
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            QueryError::bad_request(format!("{name}: {} is none of {}", short(&text), all.join(", ")))
        })
    }

    /// `start` and `end`.
    pub fn window(&mut self, now_ns: i64) -> Result<Window, QueryError> {
        WindowParams { start: self.take("start")?, end: self.take("end")? }.resolve(now_ns)
    }

    /// Refuses what is left over.
    pub fn finish(self) -> Result<(), QueryError> {
        if self.pairs.is_empty() {
            return Ok(());
        }
        let mut unknown: Vec<String> = self.pairs.iter().map(|(name, _)| short(name)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        let known = if self.known.is_empty() {
            "this path takes no parameters".to_owned()
        } else {
            format!("this path takes {}", self.known.join(", "))
        };
        Err(QueryError::bad_request(format!("unknown parameter {}", unknown.join(", "))).with_hint(known))
    }
}

fn short(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_taken_by_name_and_the_rest_is_refused() {
        let mut asked = Asked::parse("limit=5&text=a%20b&empty=&order=slowest&colour=red&colour=blue");
        assert_eq!(asked.limit("limit", 1, 10).ok(), Some(5));
        assert_eq!(asked.limit("absent", 7, 10).ok(), Some(7));
        assert_eq!(asked.take("text").ok().flatten().as_deref(), Some("a b"));
        assert_eq!(asked.take("empty").ok(), Some(None));
        assert_eq!(asked.word("order", &[("newest", 1), ("slowest", 2)]).ok(), Some(2));
        let error = asked.finish().expect_err("colour is unknown");
        assert_eq!(error.to_string(), "unknown parameter \"colour\"");
        for bad in ["limit=0", "limit=11", "limit=x", "limit=1&limit=2"] {
            assert!(Asked::parse(bad).limit("limit", 1, 10).is_err(), "{bad}");
        }
        assert!(Asked::parse("order=best").word("order", &[("newest", 1)]).is_err());
    }
}
