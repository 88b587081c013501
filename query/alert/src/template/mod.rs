//! Labels and annotations as Go templates, with the data and the functions that Prometheus gives them. A template reads
//! nothing but what it is given; `query`, and the functions that draw its links, are not there.

mod blocks;
mod functions;
mod numbers;
mod tree;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use gotmpl::{FuncMap, TemplateError, Value};
use orrery_api::Labels;

/// In the engine's own messages.
const NAME: &str = "text";
/// The expanded text is cut off here, with an error.
const MAX_EXPANDED_BYTES: usize = 64 << 10;
/// Steps of all `range`s of one expansion.
const MAX_RANGE_STEPS: u64 = 100_000;

/// What Prometheus declares before the text: names that are easier than the data's fields.
const DECLARED: &str =
    "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// A text with its actions, parsed once.
#[derive(Clone)]
pub struct Template {
    text: Arc<str>,
    /// `None` where the text has no action: it is its own expansion.
    parsed: Option<Arc<gotmpl::Template>>,
}

/// What a template is expanded over.
#[derive(Clone, Debug)]
pub struct Data {
    value: Value,
}

impl Data {
    /// The labels of the row (before the rule's own), its value, and the address under which people reach this server.
    pub fn new(labels: &Labels, value: f64, external_url: &str) -> Self {
        let labels: Vec<(Arc<str>, Value)> =
            labels.iter().map(|(name, value)| (name.as_str().into(), Value::String(value.as_str().into()))).collect();
        let fields = [
            ("Labels", Value::Map(Arc::new(labels.into_iter().collect()))),
            ("ExternalLabels", Value::Map(Arc::default())),
            ("ExternalURL", Value::String(external_url.into())),
            ("Value", Value::Float(value)),
        ];
        let fields = fields.into_iter().map(|(name, value)| (Arc::from(name), value)).collect();
        Self { value: Value::Map(Arc::new(fields)) }
    }
}

impl Template {
    /// Parses a text, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed = if text.contains("{{") {
            let parsed = empty().parse(&format!("{DECLARED}{text}")).map_err(|error| explain(&error))?;
            blocks::check(text)?;
            Some(Arc::new(finished(&parsed)?))
        } else {
            None
        };
        Ok(Self { text: text.into(), parsed })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text with its actions carried out. As in Prometheus a failure is part of the text, not an error: an alert is
    /// worth more than its description.
    pub fn expand(&self, data: &Data) -> String {
        let Some(parsed) = &self.parsed else { return self.text.to_string() };
        let mut out = Limited(String::new());
        match parsed.execute_template_fmt(&mut out, NAME, &data.value) {
            Ok(()) => out.0,
            Err(TemplateError::Write) => {
                format!("<error expanding template: it gives more than {MAX_EXPANDED_BYTES} bytes>")
            }
            Err(error) => format!("<error expanding template: {error}>"),
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.text).finish()
    }
}

/// A template with its name, its functions and its limits, and no text.
fn empty() -> gotmpl::Template {
    gotmpl::Template::new(NAME).funcs(known_functions().clone()).max_range_iters(MAX_RANGE_STEPS)
}

/// The template with its names checked and its numbers printed as Go does.
fn finished(parsed: &gotmpl::Template) -> Result<gotmpl::Template, String> {
    let templates: BTreeSet<String> = parsed.templates().into_iter().map(str::to_owned).collect();
    let names = tree::Names { functions: &|name| known_functions().contains_key(name), templates: &templates };
    let mut template = empty();
    for name in &templates {
        if let Some(body) = parsed.lookup(name) {
            let mut body = body.clone();
            tree::finish(&mut body, &names)?;
            template = template.add_parse_tree(name, body);
        }
    }
    Ok(template)
}

struct Limited(String);

impl fmt::Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_EXPANDED_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

fn known_functions() -> &'static FuncMap {
    static FUNCTIONS: LazyLock<FuncMap> = LazyLock::new(functions::all);
    &FUNCTIONS
}

/// A parser's error without the name and the place that the declarations before the text have moved.
fn explain(error: &TemplateError) -> String {
    match error {
        TemplateError::Parse { message, .. } | TemplateError::Lex { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str, value: f64) -> String {
        let labels = [("service_name", "cart"), ("instance", "10.0.0.7:8080"), ("http_route", "/pay/{id}")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let template = Template::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(template.text(), text);
        template.expand(&Data::new(&labels, value, "http://orrery.example:8080/o"))
    }

    #[test]
    fn texts_are_expanded() {
        let cases: [(&str, f64, &str); 29] = [
            ("plain text, and $labels", 1.0, "plain text, and $labels"),
            ("{{ $labels.service_name }} is at {{ $value }}", 0.25, "cart is at 0.25"),
            ("{{ .Labels.service_name }} is at {{ .Value }}", 3.0, "cart is at 3"),
            ("{{ index $labels \"http_route\" }}", 0.0, "/pay/{id}"),
            ("{{ $labels.nobody }}", 0.0, "<no value>"),
            ("{{ with $labels.service_name }}of {{ . }}{{ end }}", 0.0, "of cart"),
            ("{{ if gt $value 0.5 }}high{{ else }}low{{ end }}", 0.7, "high"),
            ("{{ if gt $value 0.5 }}high{{ else }}low{{ end }}", 0.2, "low"),
            ("{{ range $name, $value := $labels }}{{ $name }} {{ end }}", 0.0, "http_route instance service_name "),
            ("{{ $value | printf \"%.2f\" }}", 1.0 / 3.0, "0.33"),
            ("{{ printf \"%s: %.1f%%\" $labels.service_name $value }}", 12.34, "cart: 12.3%"),
            ("{{ $value | humanizePercentage }}", 0.0512, "5.12%"),
            ("{{ humanizeDuration $value }}", 125.0, "2m 5s"),
            ("{{ $labels.service_name | toUpper }}", 0.0, "CART"),
            ("{{ $labels.service_name | title }}", 0.0, "Cart"),
            ("{{ reReplaceAll \"/(\\\\w+)/.*\" \"$1\" $labels.http_route }}", 0.0, "pay"),
            ("{{ if match \"^ca\" $labels.service_name }}yes{{ end }}", 0.0, "yes"),
            ("{{ $labels.instance | stripPort }}", 0.0, "10.0.0.7"),
            ("{{ $externalURL }}/map", 0.0, "http://orrery.example:8080/o/map"),
            ("{{- /* nothing */ -}}", 0.0, ""),
            ("{{ $value }}", 1e21, "1e+21"),
            ("{{ $value }}", 123_456.0, "123456"),
            ("{{ $value }}", 1_234_567.0, "1.234567e+06"),
            ("{{ .Value }}", -0.000_012, "-1.2e-05"),
            ("{{ $value }}", 0.000_12, "0.00012"),
            ("{{ with $value }}{{ . }}{{ end }}{{ $v := $value }}{{ $v }}", 1e6, "1e+061e+06"),
            ("{{ define \"at\" }}at {{ . }}{{ end }}{{ template \"at\" $value }}", 2.5, "at 2.5"),
            ("{{ $value }}", f64::NAN, "NaN"),
            ("{{ $value }}", f64::INFINITY, "+Inf"),
        ];
        for (text, value, expected) in cases {
            assert_eq!(expand(text, value), expected, "{text}");
        }
    }

    #[test]
    fn what_does_not_parse_says_why() {
        let cases = [
            ("{{ $labels.x ", "unclosed action"),
            ("{{ $nobody }}", "$nobody"),
            ("{{ if false }}{{ $nobody }}{{ end }}", "undefined variable \"$nobody\""),
            ("{{ range $i, $x := $labels }}{{ $i }}{{ end }}{{ $i }}", "$i"),
            ("{{ $x = 1 }}", "$x"),
            ("{{ if (unheard 1) }}{{ end }}", "function \"unheard\" not defined"),
            ("{{ template \"nobody\" }}", "template \"nobody\" not defined"),
            ("{{ unheard 1 }}", "unheard"),
            ("{{ if }}x{{ end }}", "empty command"),
            ("{{ if true }}x", "unexpected EOF: if has no {{end}}"),
            ("x{{ end }}", "unexpected {{end}}"),
            ("{{ else }}", "unexpected {{else}}"),
            ("{{ query \"up\" | first }}", "query"),
        ];
        for (text, message) in cases {
            let why = Template::parse(text).expect_err(text);
            assert!(why.contains(message), "{text}: {why}");
        }
    }

    #[test]
    fn an_expansion_that_fails_says_so_in_its_place() {
        for (text, message) in [
            ("{{ humanize \"many\" }}", "many"),
            ("{{ index $labels 3 }}", "error"),
            ("{{ reReplaceAll \"(\" \"\" \"x\" }}", "regular expression"),
            ("{{ range 200000 }}{{ end }}", "budget"),
            ("{{ range 90000 }}0123456789{{ end }}", "more than 65536 bytes"),
        ] {
            let expanded = expand(text, 1.0);
            assert!(expanded.starts_with("<error expanding template: ") && expanded.contains(message), "{expanded}");
        }
    }
}
