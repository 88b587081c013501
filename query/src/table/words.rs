//! Which words a log body must hold for a condition to be true, read from the condition's form: what token filters are
//! asked. Errs only towards reading.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::Like;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use orrery_storage::token_filter::{Word, is_ascii_word, words};

use crate::functions::has_word::NAME as HAS_WORD;

/// The column that token filters are about.
pub(super) const COLUMN: &str = "body";

/// The escape character of `LIKE`.
const ESCAPE: char = '\\';

/// Words that a row must hold, as far as a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// Any row may do.
    Anything,
    Word(Word),
    /// All of them; none of nothing rules a row out.
    All(Vec<Self>),
    /// One of them; of nothing there is none, so no row does.
    Any(Vec<Self>),
}

impl Sought {
    /// What all conditions together ask for.
    pub fn of(filters: &[Expr]) -> Self {
        filters.iter().map(sought).fold(Self::Anything, Self::and)
    }

    /// Whether rows may do of which `may_hold` says which words may be in them.
    pub fn may_be_in(&self, may_hold: &dyn Fn(&Word) -> bool) -> bool {
        match self {
            Self::Anything => true,
            Self::Word(word) => may_hold(word),
            Self::All(parts) => parts.iter().all(|part| part.may_be_in(may_hold)),
            Self::Any(parts) => parts.iter().any(|part| part.may_be_in(may_hold)),
        }
    }

    fn words(text: &str) -> Self {
        Self::All(Word::all_of(text).into_iter().map(Self::Word).collect()).simple()
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Anything, one) | (one, Self::Anything) => one,
            (a, b) => Self::All(vec![a, b]),
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Anything, _) | (_, Self::Anything) => Self::Anything,
            (a, b) => Self::Any(vec![a, b]),
        }
    }

    fn simple(self) -> Self {
        match self {
            Self::All(parts) if parts.is_empty() => Self::Anything,
            other => other,
        }
    }

    const fn nothing() -> Self {
        Self::Any(Vec::new())
    }
}

fn sought(expr: &Expr) -> Sought {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => sought(left).and(sought(right)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => sought(left).or(sought(right)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (&**left, &**right) {
            (Expr::Column(column), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(column))
                if column.name == COLUMN =>
            {
                equal(value)
            }
            _ => Sought::Anything,
        },
        Expr::InList(list) if !list.negated && is_body(&list.expr) => {
            let each =
                list.list.iter().map(|e| if let Expr::Literal(value, _) = e { equal(value) } else { Sought::Anything });
            each.reduce(Sought::or).unwrap_or_else(Sought::nothing)
        }
        Expr::ScalarFunction(function) if function.name() == HAS_WORD => match function.args.as_slice() {
            [body, Expr::Literal(wanted, _)] if is_body(body) => match wanted.try_as_str() {
                // Without a word, or with NULL, it is true of no row.
                Some(wanted) if wanted.is_none_or(|wanted| words(wanted).next().is_none()) => Sought::nothing(),
                Some(Some(wanted)) => Sought::words(wanted),
                _ => Sought::Anything,
            },
            _ => Sought::Anything,
        },
        Expr::Like(Like { negated: false, expr, pattern, escape_char, case_insensitive }) if is_body(expr) => {
            match &**pattern {
                Expr::Literal(pattern, _) if escape_char.is_none_or(|c| c == ESCAPE) => {
                    let pattern = pattern.try_as_str().flatten();
                    pattern.map_or(Sought::Anything, |pattern| like(pattern, *case_insensitive))
                }
                _ => Sought::Anything,
            }
        }
        _ => Sought::Anything,
    }
}

fn is_body(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == COLUMN)
}

fn equal(value: &ScalarValue) -> Sought {
    match value.try_as_str() {
        Some(Some(text)) => Sought::words(text),
        // Nothing equals NULL.
        Some(None) => Sought::nothing(),
        None => Sought::Anything,
    }
}

/// The words that stand whole in a pattern: at its ends, or between characters of no word. Next to a wildcard a word of
/// the text may go on. Of patterns that ignore case only what is ASCII, since folding and `ILIKE` need not agree on the
/// rest.
fn like(pattern: &str, ignores_case: bool) -> Sought {
    let mut literal = String::new();
    let mut pieces: Vec<String> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' | '_' => pieces.push(std::mem::take(&mut literal)),
            ESCAPE => literal.push(chars.next().unwrap_or(ESCAPE)),
            _ => literal.push(c),
        }
    }
    pieces.push(literal);
    let last = pieces.len() - 1;
    let mut found = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        for word in words(piece) {
            let start = word.as_ptr() as usize - piece.as_ptr() as usize;
            let end = start + word.len();
            let whole_before = start > 0 || i == 0;
            let whole_after = end < piece.len() || i == last;
            let plain = |c: Option<char>| c.is_none_or(|c| c.is_ascii() && !is_ascii_word(c as u8));
            let ascii =
                word.is_ascii() && plain(piece[..start].chars().next_back()) && plain(piece[end..].chars().next());
            if whole_before && whole_after && (!ignores_case || ascii) {
                found.extend(Word::all_of(word).into_iter().map(Sought::Word));
            }
        }
    }
    Sought::All(found).simple()
}

#[cfg(test)]
mod tests {
    use datafusion::common::Column;
    use datafusion::logical_expr::lit;

    use super::*;

    fn body() -> Expr {
        Expr::Column(Column::new_unqualified(COLUMN))
    }

    fn has_word(text: Expr, words: &str) -> Expr {
        datafusion::logical_expr::ScalarUDF::call(&crate::functions::has_word::HasWord::udf(), vec![text, lit(words)])
    }

    /// Whether a row of the words may do.
    fn may(filters: &[Expr], row: &str) -> bool {
        let held = Word::all_of(row);
        Sought::of(filters).may_be_in(&|word| held.contains(word))
    }

    #[test]
    fn conditions_ask_for_their_words() {
        let a_or_b = has_word(body(), "alpha").or(has_word(body(), "BETA gamma"));
        let other = Expr::Column(Column::new_unqualified("event_name"));
        for (filter, row, expected) in [
            (a_or_b.clone(), "Alpha", true),
            (a_or_b.clone(), "gamma and beta", true),
            (a_or_b.clone(), "beta", false),
            (a_or_b.clone().and(has_word(body(), "delta")), "alpha", false),
            (a_or_b.clone().and(has_word(body(), "delta")), "alpha delta", true),
            (a_or_b.clone().and(other.clone().eq(lit("x"))), "none", false),
            (a_or_b.or(other.clone().eq(lit("x"))), "none", true),
            (has_word(other, "alpha"), "none", true),
            (Expr::Not(Box::new(has_word(body(), "alpha"))), "none", true),
            (has_word(body(), " .,"), "alpha", false),
            (has_word(body(), "Straße"), "STRASSE", true),
            (body().eq(lit("user 7 paid")), "paid 7 user", true),
            (body().eq(lit("user 7 paid")), "user 7", false),
            (body().in_list(vec![lit("one two"), lit("three")], false), "three", true),
            (body().in_list(vec![lit("one two"), lit("three")], false), "two", false),
            (body().in_list(vec![lit("one two"), lit("three")], true), "four", true),
            (body().not_eq(lit("one")), "two", true),
        ] {
            assert_eq!(may(std::slice::from_ref(&filter), row), expected, "{filter} on {row:?}");
        }
        assert_eq!(Sought::of(&[]), Sought::Anything);
    }

    #[test]
    fn patterns_ask_for_the_words_that_stand_whole_in_them() {
        let asked = |pattern: &str, ignores_case| like(pattern, ignores_case);
        let all = |words: &[&str]| {
            Sought::All(words.iter().flat_map(|w| Word::all_of(w)).map(Sought::Word).collect()).simple()
        };
        for (pattern, words) in [
            ("%timeout%", &[][..]),
            ("timeout%", &[]),
            ("timeout %", &["timeout"]),
            ("%connection refused by%", &["refused"]),
            ("%[ERROR]%", &["error"]),
            ("whole line", &["whole", "line"]),
            ("a_b c d", &["c", "d"]),
            (r"%[a\_b]%", &["a_b"]),
            (r"%[50\%]%", &["50"]),
            ("%", &[]),
        ] {
            assert_eq!(asked(pattern, true), all(words), "{pattern}");
            assert_eq!(asked(pattern, false), all(words), "{pattern}");
        }
        assert_eq!(asked("% schön [ok→ %", true), all(&[]));
        assert_eq!(asked("% schön [ok→ %", false), all(&["schön", "ok"]));
    }
}
