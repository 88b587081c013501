//! The functions of Prometheus' templates, beside those of Go's `text/template`, under their names. Each a line in
//! [`all`]. Never reads a clock, a file or the lake.

use std::net::IpAddr;
use std::sync::Arc;

use gotmpl::{FuncMap, TemplateError, Value, ValueFunc};
use regex::Regex;

use super::numbers;
use super::tree::PRINTED;
use crate::rules::duration;

type Outcome = Result<Value, TemplateError>;

pub(super) fn all() -> FuncMap {
    let functions: [(&str, ValueFunc); 17] = [
        (PRINTED, Arc::new(printed)),
        ("args", Arc::new(args)),
        ("humanize", number(|v| Ok(numbers::humanize(v)))),
        ("humanize1024", number(|v| Ok(numbers::humanize_1024(v)))),
        ("humanizeDuration", number(|v| Ok(numbers::humanize_duration(v)))),
        ("humanizePercentage", number(|v| Ok(numbers::humanize_percentage(v)))),
        ("humanizeTimestamp", number(numbers::humanize_timestamp)),
        ("match", texts("match", |[pattern, text]| Ok(Value::Bool(regex(pattern)?.is_match(text))))),
        ("parseDuration", texts("parseDuration", |[text]| parse_duration(text))),
        ("reReplaceAll", texts("reReplaceAll", |[pattern, with, text]| re_replace_all(pattern, with, text))),
        ("safeHtml", texts("safeHtml", |[text]| Ok(string(text)))),
        ("stripDomain", texts("stripDomain", |[host]| Ok(string(&strip_domain(host))))),
        ("stripPort", texts("stripPort", |[host]| Ok(string(&strip_port(host))))),
        ("title", texts("title", |[text]| Ok(string(&title(text))))),
        ("toLower", texts("toLower", |[text]| Ok(string(&text.to_lowercase())))),
        ("toUpper", texts("toUpper", |[text]| Ok(string(&text.to_uppercase())))),
        ("urlQueryEscape", texts("urlQueryEscape", |[text]| Ok(string(&url_query_escape(text))))),
    ];
    functions.into_iter().map(|(name, function)| (name.into(), function)).collect()
}

fn fault(message: impl Into<String>) -> TemplateError {
    TemplateError::Exec(message.into())
}

fn string(text: &str) -> Value {
    Value::String(text.into())
}

/// A function of one number, or of a text that is one.
fn number(function: fn(f64) -> Result<String, String>) -> ValueFunc {
    Arc::new(move |args| {
        let [value] = args else { return Err(fault(format!("it takes one number, not {} arguments", args.len()))) };
        let number = match value {
            Value::Float(v) => *v,
            Value::Int(v) => *v as f64,
            Value::Uint(v) => *v as f64,
            Value::String(text) => text.parse().map_err(|_| fault(format!("{text:?} is no number")))?,
            other => return Err(fault(format!("{} is no number", other.type_name()))),
        };
        function(number).map(|text| string(&text)).map_err(fault)
    })
}

/// A function of texts.
fn texts<const N: usize>(name: &'static str, function: fn([&str; N]) -> Outcome) -> ValueFunc {
    Arc::new(move |args| {
        let found: Option<Vec<&str>> = args.iter().map(Value::as_str).collect();
        let found = found.ok_or_else(|| fault(format!("{name} takes texts")))?;
        let found: [&str; N] =
            found.try_into().map_err(|_| fault(format!("{name} takes {N} arguments, not {}", args.len())))?;
        function(found)
    })
}

/// What an action prints: of a number as Go has it, of all else what it is.
fn printed(args: &[Value]) -> Outcome {
    Ok(match args {
        [Value::Float(v)] => string(&numbers::as_go(*v)),
        [other] => other.clone(),
        _ => Value::Nil,
    })
}

/// The arguments as `arg0`, `arg1` and so on, for `template`.
fn args(args: &[Value]) -> Outcome {
    let named = args.iter().enumerate().map(|(i, value)| (format!("arg{i}").into(), value.clone()));
    Ok(Value::Map(Arc::new(named.collect())))
}

fn regex(pattern: &str) -> Result<Regex, TemplateError> {
    Regex::new(pattern).map_err(|_| fault(format!("{pattern:?} is no regular expression")))
}

fn re_replace_all(pattern: &str, with: &str, text: &str) -> Outcome {
    Ok(string(&regex(pattern)?.replace_all(text, with)))
}

/// Seconds.
fn parse_duration(text: &str) -> Outcome {
    duration::parse(text).map(|duration| Value::Float(duration.as_secs_f64())).map_err(fault)
}

/// Every word with its first letter in upper case.
fn title(text: &str) -> String {
    let mut previous = ' ';
    let mut titled = String::with_capacity(text.len());
    for letter in text.chars() {
        let inside = previous.is_alphanumeric() || previous == '_' || previous == '\'';
        if inside {
            titled.push(letter);
        } else {
            titled.extend(letter.to_uppercase());
        }
        previous = letter;
    }
    titled
}

/// Host and port, where there is one: `host:port` or `[address]:port`.
fn split_port(host_port: &str) -> Option<(&str, &str)> {
    let (host, port) = host_port.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(address) => Some((address.strip_suffix(']')?, port)),
        None => (!host.contains(':')).then_some((host, port)),
    }
}

fn strip_port(host_port: &str) -> String {
    match split_port(host_port) {
        Some((host, _)) if host.contains(':') => format!("[{host}]"),
        Some((host, _)) => host.to_owned(),
        None => host_port.to_owned(),
    }
}

/// The host's name without its domain; addresses stay as they are.
fn strip_domain(host_port: &str) -> String {
    let (host, port) = split_port(host_port).map_or((host_port, None), |(host, port)| (host, Some(port)));
    if host.parse::<IpAddr>().is_ok() {
        return host_port.to_owned();
    }
    let name = host.split('.').next().unwrap_or(host);
    port.map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

fn url_query_escape(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_ports_and_domains() {
        let cases = [
            ("hostname:3000", "hostname", "hostname:3000"),
            ("web.example.com:80", "web.example.com", "web:80"),
            ("web.example.com", "web.example.com", "web"),
            ("hostname", "hostname", "hostname"),
            ("127.0.0.1:9090", "127.0.0.1", "127.0.0.1:9090"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
            ("[::1]:9090", "[::1]", "[::1]:9090"),
            ("::1", "::1", "::1"),
        ];
        for (host, without_port, without_domain) in cases {
            assert_eq!(strip_port(host), without_port, "{host}");
            assert_eq!(strip_domain(host), without_domain, "{host}");
        }
    }

    #[test]
    fn words_get_titles() {
        for (text, titled) in
            [("aa bb CC", "Aa Bb CC"), ("o'neill's cart", "O'neill's Cart"), ("a-b_c", "A-B_c"), ("", "")]
        {
            assert_eq!(title(text), titled);
        }
    }

    #[test]
    fn groups_are_put_into_the_place_of_what_matched() {
        let replaced = |pattern, with, text| match re_replace_all(pattern, with, text) {
            Ok(Value::String(text)) => text.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(replaced("(a)b", "x$1", "ab"), "xa");
        assert_eq!(replaced("https?://([^/]+)/.*", "${1}:80", "http://cart/pay"), "cart:80");
        assert_eq!(replaced("x", "y", "abc"), "abc");
    }
}
