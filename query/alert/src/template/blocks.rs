//! Whether every block of a template has its end: Go's parser says so, gotmpl's takes what it is given. Reads the text's
//! actions by their first word; what else is wrong with them is the parser's to say.

/// Words that open a block.
const OPENING: [&str; 5] = ["if", "range", "with", "block", "define"];

/// Says which block has no end, or which end has no block.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let action = &rest[start + 2..];
        let length = length_of(action);
        match first_word(&action[..length]) {
            "end" => {
                open.pop().ok_or("unexpected {{end}}")?;
            }
            "else" if open.is_empty() => return Err("unexpected {{else}}".to_owned()),
            word => open.extend(OPENING.iter().find(|opening| **opening == word)),
        }
        rest = &action[length..];
    }
    open.pop().map_or(Ok(()), |word| Err(format!("unexpected EOF: {word} has no {{{{end}}}}")))
}

fn first_word(action: &str) -> &str {
    let action = action.strip_prefix('-').unwrap_or(action).trim_start();
    let end = action.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(action.len());
    &action[..end]
}

/// The bytes of an action before its `}}`, which may also stand in a quoted text or a comment.
fn length_of(action: &str) -> usize {
    let trimmed = action.strip_prefix('-').unwrap_or(action).trim_start();
    if trimmed.starts_with("/*") {
        return action.find("*/").map_or(action.len(), |end| end + 2);
    }
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (at, c) in action.char_indices() {
        match quote {
            _ if escaped => escaped = false,
            Some('"' | '\'') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'' | '`') => quote = Some(c),
            None if action[at..].starts_with("}}") => return at,
            None => {}
        }
    }
    action.len()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn blocks_and_their_ends_are_counted() {
        for good in [
            "no action",
            "{{ if a }}x{{ else if b }}y{{ else }}z{{ end }}",
            "{{- range $x }}{{ with . }}{{ . }}{{ end }}{{- end -}}",
            "{{ \"{{ if\" }}{{ `}} {{ end` }}{{ \"\\\"}}\" }}",
            "{{/* {{ if }} */}}{{ $iffy }}{{ ending }}",
            "{{ define \"a\" }}x{{ end }}{{ template \"a\" }}",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["{{ if a }}", "{{ end }}", "{{ else }}", "{{ if a }}{{ end }}{{ end }}", "{{ block \"a\" . }}x"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
