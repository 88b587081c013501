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
