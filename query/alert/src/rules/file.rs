//! A rule file as it is written: Prometheus' form with `sql` in the place of `expr`. Says all that can be said without a
//! lake; whether the SQL plans is for [`super::check`].

use std::collections::HashSet;
use std::time::Duration;

use orrery_api::Labels;

use super::fields::{Fields, Text, list};
use super::yaml::{self, Fault, Key, Node, Position};
use crate::labels;
use crate::template::Template;

/// A file of more bytes is refused.
pub const MAX_FILE_BYTES: usize = 4 << 20;
/// Rules of one file.
pub const MAX_RULES: usize = 10_000;

/// From `$start` to `$end` where a rule does not say.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(300);
/// A group is not evaluated more often.
pub const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// A file's groups, in its order.
#[derive(Clone, Debug)]
pub struct RuleFile {
    pub groups: Vec<Group>,
}

#[derive(Clone, Debug)]
pub struct Group {
    /// Unique in the file.
    pub name: String,
    pub at: Position,
    /// `None` for the configuration's.
    pub interval: Option<Duration>,
    pub query_offset: Duration,
    /// Alerts that a rule may have; 0 is no limit.
    pub limit: u64,
    /// In the order in which they are evaluated.
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub at: Position,
    pub alert: String,
    pub sql: Text,
    /// The file's line of the SQL's first and how many columns its lines begin later there; `None` where the file folds
    /// lines together.
    pub sql_lines: Option<(u64, u64)>,
    pub window: Duration,
    pub hold: Duration,
    pub keep_firing_for: Duration,
    /// The group's, overridden by the rule's own.
    pub labels: Vec<(String, Template)>,
    pub annotations: Vec<(String, Template)>,
}

impl Rule {
    /// The labels as they are written.
    pub fn label_texts(&self) -> Labels {
        texts(&self.labels)
    }

    /// The annotations as they are written.
    pub fn annotation_texts(&self) -> Labels {
        texts(&self.annotations)
    }

    /// Where a line and column (from 1) of the SQL are in the file.
    pub fn place_in_sql(&self, line: u64, column: u64) -> Position {
        self.sql_lines
            .map_or(self.sql.at, |(first, indent)| Position { line: first + line - 1, column: indent + column })
    }
}

fn texts(templates: &[(String, Template)]) -> Labels {
    templates.iter().map(|(name, template)| (name.clone(), template.text().to_owned())).collect()
}

/// Reads a file. Of each rule the first fault is given, all in the order of the file; never an empty list.
pub fn parse(text: &str) -> Result<RuleFile, Vec<Fault>> {
    if text.len() > MAX_FILE_BYTES {
        return Err(vec![Fault::new(Position::default(), format!("larger than {MAX_FILE_BYTES} bytes"))]);
    }
    let mut faults = Vec::new();
    let groups = match groups(text) {
        Ok(groups) => groups,
        Err(fault) => return Err(vec![fault]),
    };
    let mut names: HashSet<String> = HashSet::new();
    let mut read = Vec::with_capacity(groups.len());
    for node in groups {
        let Some(group) = group(node, text, &mut faults) else { continue };
        if names.insert(group.name.clone()) {
            read.push(group);
        } else {
            faults.push(Fault::new(group.at, format!("the file has another group {}", group.name)));
        }
    }
    let rules: usize = read.iter().map(|group| group.rules.len()).sum();
    if rules > MAX_RULES {
        faults.push(Fault::new(Position::default(), format!("{rules} rules; a file has at most {MAX_RULES}")));
    }
    faults.sort_by_key(|fault| fault.at);
    if faults.is_empty() { Ok(RuleFile { groups: read }) } else { Err(faults) }
}

fn groups(text: &str) -> Result<Vec<Node>, Fault> {
    let Some(root) = yaml::parse(text)? else { return Ok(Vec::new()) };
    Fields::of(root, "a rule file", &["groups"])?.list("groups")
}

/// A group, `None` where something is wrong with it.
fn group(node: Node, text: &str, faults: &mut Vec<Fault>) -> Option<Group> {
    let before = faults.len();
    let mut keep = |fault: Fault| faults.push(fault);
    let known = ["name", "interval", "query_offset", "limit", "labels", "rules"];
    let mut fields = Fields::of(node, "a group", &known).map_err(&mut keep).ok()?;
    let at = fields.at();
    let name = fields.required_text("name").map_err(&mut keep).ok()?;
    let interval_at = fields.place_of("interval");
    let interval = fields.duration("interval").map_err(&mut keep).ok()?;
    if interval.is_some_and(|interval| interval < MIN_INTERVAL) {
        keep(Fault::new(interval_at, "interval: a group is evaluated at most once a second"));
    }
    let query_offset = fields.duration("query_offset").map_err(&mut keep).ok()?.unwrap_or_default();
    let limit = fields.number("limit").map_err(&mut keep).ok()?.unwrap_or_default();
    let shared = fields.texts("labels").and_then(|texts| templates(texts, "label")).map_err(&mut keep).ok()?;
    let nodes = match fields.take("rules") {
        Some(rules) => list(rules, "rules").map_err(&mut keep).ok()?,
        None => Vec::new(),
    };
    let mut seen: HashSet<(String, Labels)> = HashSet::new();
    let mut rules = Vec::with_capacity(nodes.len());
    for node in nodes {
        match rule(node, &shared, text) {
            Ok(rule) if seen.insert((rule.alert.clone(), rule.label_texts())) => rules.push(rule),
            Ok(rule) => {
                let message = format!("the group has another rule {} with the same labels", rule.alert);
                faults.push(Fault::new(rule.at, message));
            }
            Err(fault) => faults.push(fault),
        }
    }
    (faults.len() == before).then(|| Group { name: name.text, at, interval, query_offset, limit, rules })
}

const RULE_FIELDS: [&str; 9] =
    ["alert", "sql", "expr", "record", "window", "for", "keep_firing_for", "labels", "annotations"];

fn rule(node: Node, shared: &[(String, Template)], file: &str) -> Result<Rule, Fault> {
    let mut fields = Fields::of(node, "a rule", &RULE_FIELDS)?;
    let at = fields.at();
    if fields.take("record").is_some() {
        return Err(Fault::new(
            at,
            "recording rules are not there yet: only alerting rules (alert and sql) are evaluated",
        ));
    }
    let expr_at = fields.place_of("expr");
    if fields.take("expr").is_some() {
        let message = "PromQL is not there yet: write the condition in the place of expr as sql, a query whose rows are the alerts";
        return Err(Fault::new(expr_at, message));
    }
    let alert = fields.required_text("alert")?;
    let sql = fields.required_text("sql")?;
    let window_at = fields.place_of("window");
    let window = fields.duration("window")?.unwrap_or(DEFAULT_WINDOW);
    if window.is_zero() {
        return Err(Fault::new(window_at, "window: there are no rows in no time"));
    }
    let hold = fields.duration("for")?.unwrap_or_default();
    let keep_firing_for = fields.duration("keep_firing_for")?.unwrap_or_default();
    let own = templates(fields.texts("labels")?, "label")?;
    let annotations = templates(fields.texts("annotations")?, "annotation")?;
    let mut labels: Vec<(String, Template)> =
        shared.iter().filter(|(name, _)| own.iter().all(|(own, _)| own != name)).cloned().collect();
    labels.extend(own);
    let sql_lines = lines_of(&sql, file);
    Ok(Rule { at, alert: alert.text, sql_lines, sql, window, hold, keep_firing_for, labels, annotations })
}

fn templates(texts: Vec<(Key, Text)>, what: &str) -> Result<Vec<(String, Template)>, Fault> {
    texts
        .into_iter()
        .map(|(Key { at, name }, value)| {
            if !labels::is_name(&name) {
                let message = format!("{name:?} is no name of a {what}: letters, digits and _, no digit first");
                return Err(Fault::new(at, message));
            }
            if what == "label" && name == labels::ALERT_NAME {
                return Err(Fault::new(at, format!("the label {name} is the rule's own name")));
            }
            let template =
                Template::parse(&value.text).map_err(|why| Fault::new(value.at, format!("{what} {name}: {why}")))?;
            Ok((name, template))
        })
        .collect()
}

/// Where the lines of a text are in the file: of a literal block all of them, else of a text that the line has as it is.
/// `at` of a block is its first line that is not blank.
fn lines_of(sql: &Text, file: &str) -> Option<(u64, u64)> {
    let line = file.lines().nth(usize::try_from(sql.at.line - 1).ok()?)?;
    let blanks = |line: &str| line.chars().take_while(|c| *c == ' ').count() as u64;
    if sql.literal {
        let above = sql.text.lines().take_while(|line| line.trim().is_empty()).count();
        let indent = blanks(line).saturating_sub(blanks(sql.text.lines().nth(above)?));
        return Some((sql.at.line - above as u64, indent));
    }
    let before = sql.at.column - 1;
    let rest: String = line.chars().skip(usize::try_from(before).ok()?).collect();
    let quote = u64::from(rest.starts_with(['"', '\'']));
    let is_there = rest.get(usize::from(quote == 1)..)?.starts_with(&sql.text);
    is_there.then_some((sql.at.line, before + quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_the_sql_are_the_files() {
        let cases = [
            // Where the text begins, and where its second line, third column is.
            ("sql: SELECT 1 AS value", (5, 14), None),
            ("sql: \"SELECT 1 AS value\"", (5, 15), None),
            ("sql: |\n          SELECT 1\n            AS value", (6, 11), Some((7, 13))),
            ("sql: |-\n\n          SELECT 1\n            AS value", (6, 11), Some((7, 13))),
            ("sql: |2\n            SELECT 1\n          AS value", (6, 11), Some((7, 13))),
            // Folded: the beginning stands for the whole.
            ("sql: >-\n          SELECT 1\n          AS value", (6, 11), Some((6, 11))),
            ("sql: SELECT 1\n          AS value", (5, 14), Some((5, 14))),
        ];
        for (sql, first, second) in cases {
            let text = format!("groups:\n  - name: g\n    rules:\n      - alert: A\n        {sql}\n");
            let rule =
                parse(&text).unwrap_or_else(|faults| panic!("{sql}: {faults:?}")).groups.remove(0).rules.remove(0);
            let place = |line, column| {
                let at = rule.place_in_sql(line, column);
                (at.line, at.column)
            };
            assert_eq!(place(1, 1), first, "{sql}");
            assert_eq!(second.map(|_| place(2, 3)), second, "{sql}");
        }
    }
}
