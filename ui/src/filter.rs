//! Filter expressions as text: quoting, joining, the links from a value on screen to the rows that have it. The server
//! parses and checks them; nothing here decides what an expression means.

/// A string literal of SQL.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Expressions joined by AND, each in parentheses where it could bind differently; empty ones say nothing.
pub fn all(parts: &[Option<String>]) -> Option<String> {
    let said: Vec<&str> = parts.iter().flatten().map(|p| p.trim()).filter(|p| !p.is_empty()).collect();
    match said.as_slice() {
        [] => None,
        [one] => Some((*one).to_owned()),
        many => Some(many.iter().map(|p| wrap(p)).collect::<Vec<_>>().join(" AND ")),
    }
}

/// `deployment_environment = …` and `service_namespace = …`, from the top bar.
pub fn scope(environment: Option<&str>, namespace: Option<&str>) -> Option<String> {
    all(&[
        environment.map(|e| format!("deployment_environment = {}", quote(e))),
        namespace.map(|n| format!("service_namespace = {}", quote(n))),
    ])
}

/// A service by its id, `name` or `namespace/name`. A name may hold a slash of its own: `services` tells which it is.
pub fn service(name: &str, namespace: Option<&str>) -> String {
    match namespace {
        Some(ns) => format!("service_name = {} AND service_namespace = {}", quote(name), quote(ns)),
        None => format!("service_name = {}", quote(name)),
    }
}

/// A service by its id where the parts are not at hand: cut at the first slash.
pub fn service_id(id: &str) -> String {
    match id.split_once('/') {
        Some((ns, name)) if !ns.is_empty() && !name.is_empty() => service(name, Some(ns)),
        _ => service(id, None),
    }
}

/// An attribute that has a value. Numbers compare as the text that the tables show.
pub fn attribute(map: &str, key: &str, value: &str) -> String {
    format!("{map}[{}] = {}", quote(key), quote(value))
}

/// A text that occurs in a column, whatever its case, as the API's `text` parameter means it.
pub fn contains(column: &str, text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("{column} ILIKE {}", quote(&format!("%{escaped}%")))
}

/// The conditions that an expression joins by AND, as they stand there; the expression as a whole where an OR binds them
/// otherwise. Quoted text, brackets and the AND of a BETWEEN are left alone.
pub fn conjuncts(text: &str) -> Vec<&str> {
    let (mut found, mut from, mut depth, mut between) = (Vec::new(), 0, 0_usize, false);
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '\'' | '"' => {
                at += text[at + 1..].find(c).map_or(text.len() - at, |end| end + 2);
                continue;
            }
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            c if c.is_ascii_alphabetic() || c == '_' => {
                let length =
                    text[at..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len() - at);
                let word = &text[at..at + length];
                if depth == 0 && word.eq_ignore_ascii_case("or") {
                    return vec![text.trim()];
                } else if depth == 0 && word.eq_ignore_ascii_case("between") {
                    between = true;
                } else if depth == 0 && word.eq_ignore_ascii_case("and") && !std::mem::take(&mut between) {
                    found.push(text[from..at].trim());
                    from = at + length;
                }
                at += length;
                continue;
            }
            _ => {}
        }
        at += c.len_utf8();
    }
    found.push(text[from..].trim());
    found.retain(|part| !part.is_empty());
    found
}

/// The expression with the condition put to it, or without it where it holds it already. `None` where nothing is left.
pub fn toggled(expression: Option<&str>, condition: &str) -> Option<String> {
    let parts = conjuncts(expression.unwrap_or_default());
    if parts.contains(&condition) {
        let rest: Vec<Option<String>> =
            parts.into_iter().filter(|p| *p != condition).map(|p| Some(p.to_owned())).collect();
        return all(&rest);
    }
    all(&[expression.map(str::to_owned), Some(condition.to_owned())])
}

fn wrap(part: &str) -> String {
    // A quoted OR costs a pair of parentheses too many, which is harmless.
    if part.to_ascii_uppercase().contains(" OR ") { format!("({part})") } else { part.to_owned() }
}

/// Whether a text can only be a trace id: 32 hex digits, dashes and spaces aside. Gives it in the form of the tables.
pub fn trace_id(text: &str) -> Option<String> {
    let bare: String = text.trim().chars().filter(|c| *c != '-').collect();
    let hex = bare.len() == 32 && bare.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| bare.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_expressions_that_cannot_break_out() {
        assert_eq!(quote("it's"), "'it''s'");
        assert_eq!(attribute("attributes", "a'b", "x' OR '1'='1"), "attributes['a''b'] = 'x'' OR ''1''=''1'");
        assert_eq!(service_id("shop/cart"), "service_name = 'cart' AND service_namespace = 'shop'");
        assert_eq!(scope(None, None), None);
        assert_eq!(scope(Some("prod"), None).as_deref(), Some("deployment_environment = 'prod'"));
        assert_eq!(
            all(&[Some("a = 1 OR b = 2".into()), Some(" ".into()), None, Some("c = 3".into())]).as_deref(),
            Some("(a = 1 OR b = 2) AND c = 3")
        );
    }

    #[test]
    fn a_condition_is_put_to_an_expression_and_taken_out_again() {
        for (expression, parts) in [
            ("", vec![]),
            ("a = 1", vec!["a = 1"]),
            ("a = 1 and b = 'x AND y' AND (c = 2 AND d = 3)", vec!["a = 1", "b = 'x AND y'", "(c = 2 AND d = 3)"]),
            ("n BETWEEN 1 AND 2 AND m = 3", vec!["n BETWEEN 1 AND 2", "m = 3"]),
            ("a = 1 OR b = 2 AND c = 3", vec!["a = 1 OR b = 2 AND c = 3"]),
            ("attributes['x AND y'] = 'ä' AND brand = 1", vec!["attributes['x AND y'] = 'ä'", "brand = 1"]),
            ("a = 'open AND b = 2", vec!["a = 'open AND b = 2"]),
        ] {
            assert_eq!(conjuncts(expression), parts, "{expression}");
        }
        let one = toggled(None, "a = 1");
        assert_eq!(one.as_deref(), Some("a = 1"));
        let two = toggled(one.as_deref(), "b = 2");
        assert_eq!(two.as_deref(), Some("a = 1 AND b = 2"));
        assert_eq!(toggled(two.as_deref(), "a = 1").as_deref(), Some("b = 2"));
        assert_eq!(toggled(one.as_deref(), "a = 1"), None);
        let either = toggled(Some("a = 1 OR b = 2"), "c = 3");
        assert_eq!(either.as_deref(), Some("(a = 1 OR b = 2) AND c = 3"));
        assert_eq!(toggled(either.as_deref(), "c = 3").as_deref(), Some("(a = 1 OR b = 2)"));
        assert_eq!(contains("body", "50%_a\\"), "body ILIKE '%50\\%\\_a\\\\%'");
    }

    #[test]
    fn a_pasted_trace_id_is_recognised_in_any_form() {
        let plain = "0af7651916cd43dd8448eb211c80319c";
        for text in [plain, " 0AF7651916CD43DD8448EB211C80319C ", "0af76519-16cd-43dd-8448-eb211c80319c"] {
            assert_eq!(trace_id(text).as_deref(), Some(plain), "{text}");
        }
        for text in ["0af7651916cd43dd", "checkout", "0af7651916cd43dd8448eb211c80319g"] {
            assert_eq!(trace_id(text), None, "{text}");
        }
    }
}
