//! What rows must hold for a condition to be true, read from the condition's form: words of a log body, and whole values
//! of the columns that files may have filters of. Errs only towards reading.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::Like;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use orrery_storage::token_filter::{Word, words};
use orrery_storage::value_filter;

use super::words::{BODY, ESCAPE, like};
use crate::functions::has_word::NAME as HAS_WORD;

/// What a row must hold, as far as a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// Any row may do.
    Anything,
    One(Item),
    /// All of them; none of nothing rules a row out.
    All(Vec<Self>),
    /// One of them; of nothing there is none, so no row does.
    Any(Vec<Self>),
}

/// One thing that a row must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// In the body.
    Word(Word),
    /// As the value of a column, by its hash.
    Value(Arc<str>, u64),
}

impl Sought {
    /// What all conditions, over stored columns, together ask for.
    pub fn of(filters: &[Expr]) -> Self {
        filters.iter().map(sought).fold(Self::Anything, Self::and)
    }

    /// Whether rows may do of which `may_hold` says what may be in them.
    pub fn may_be_in(&self, may_hold: &dyn Fn(&Item) -> bool) -> bool {
        match self {
            Self::Anything => true,
            Self::One(item) => may_hold(item),
            Self::All(parts) => parts.iter().all(|part| part.may_be_in(may_hold)),
            Self::Any(parts) => parts.iter().any(|part| part.may_be_in(may_hold)),
        }
    }

    /// Whether words are asked for, and the columns of which values are.
    pub fn columns(&self) -> (bool, BTreeSet<Arc<str>>) {
        let mut found = (false, BTreeSet::new());
        self.each(&mut |item| match item {
            Item::Word(_) => found.0 = true,
            Item::Value(column, _) => {
                found.1.insert(Arc::clone(column));
            }
        });
        found
    }

    fn each(&self, take: &mut dyn FnMut(&Item)) {
        match self {
            Self::Anything => {}
            Self::One(item) => take(item),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.each(take)),
        }
    }

    fn words(text: &str) -> Self {
        Self::all_words(Word::all_of(text))
    }

    pub(super) fn all_words(words: Vec<Word>) -> Self {
        if words.is_empty() {
            return Self::Anything;
        }
        Self::All(words.into_iter().map(|word| Self::One(Item::Word(word))).collect())
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

    const fn nothing() -> Self {
        Self::Any(Vec::new())
    }
}

fn sought(expr: &Expr) -> Sought {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => sought(left).and(sought(right)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => sought(left).or(sought(right)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (&**left, &**right) {
            (Expr::Column(column), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(column)) => {
                equal(&column.name, value)
            }
            _ => Sought::Anything,
        },
        Expr::InList(list) if !list.negated => {
            let Expr::Column(column) = &*list.expr else { return Sought::Anything };
            let one =
                |e: &Expr| if let Expr::Literal(value, _) = e { equal(&column.name, value) } else { Sought::Anything };
            list.list.iter().map(one).reduce(Sought::or).unwrap_or_else(Sought::nothing)
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
                    pattern.map_or(Sought::Anything, |pattern| Sought::all_words(like(pattern, *case_insensitive)))
                }
                _ => Sought::Anything,
            }
        }
        _ => Sought::Anything,
    }
}

fn is_body(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == BODY)
}

fn equal(column: &str, value: &ScalarValue) -> Sought {
    let is_body = column == BODY;
    if !is_body && !value_filter::may_have(column) {
        return Sought::Anything;
    }
    match value.try_as_str() {
        Some(Some(text)) if is_body => Sought::words(text),
        Some(Some(text)) => Sought::One(Item::Value(column.into(), value_filter::hash(text))),
        // Nothing equals NULL.
        Some(None) => Sought::nothing(),
        None => Sought::Anything,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::Column;
    use datafusion::logical_expr::lit;

    use super::*;

    fn column(name: &str) -> Expr {
        Expr::Column(Column::new_unqualified(name))
    }

    fn body() -> Expr {
        column(BODY)
    }

    fn has_word(text: Expr, words: &str) -> Expr {
        datafusion::logical_expr::ScalarUDF::call(&crate::functions::has_word::HasWord::udf(), vec![text, lit(words)])
    }

    /// Whether a row of the words and values may do.
    fn may(filters: &[Expr], words: &str, values: &[(&str, &str)]) -> bool {
        let held = Word::all_of(words);
        Sought::of(filters).may_be_in(&|item| match item {
            Item::Word(word) => held.contains(word),
            Item::Value(name, hash) => values.iter().any(|(n, v)| **name == **n && *hash == value_filter::hash(v)),
        })
    }

    #[test]
    fn conditions_ask_for_their_words() {
        let a_or_b = has_word(body(), "alpha").or(has_word(body(), "BETA gamma"));
        let other = column("event_name");
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
            assert_eq!(may(std::slice::from_ref(&filter), row, &[]), expected, "{filter} on {row:?}");
        }
        assert_eq!(Sought::of(&[]), Sought::Anything);
    }

    #[test]
    fn conditions_ask_for_values_of_columns_that_may_have_filters() {
        let (user, trace) = (|| column("attributes.user.id"), || column("trace_id"));
        let held = [("attributes.user.id", "u7"), ("trace_id", "ab")];
        let null = || Expr::Literal(ScalarValue::Utf8(None), None);
        for (filter, expected) in [
            (user().eq(lit("u7")), true),
            (lit("u7").eq(user()), true),
            (user().eq(lit("u8")), false),
            (user().eq(lit("ab")), false),
            (user().eq(lit("u7")).and(trace().eq(lit("cd"))), false),
            (user().eq(lit("u8")).or(trace().eq(lit("ab"))), true),
            (trace().in_list(vec![lit("x"), lit("ab")], false), true),
            (trace().in_list(vec![lit("x"), lit("y")], false), false),
            (trace().in_list(vec![lit("x"), lit("y")], true), true),
            (user().eq(lit("u8")).or(user().is_null()), true),
            (user().eq(null()), false),
            (user().gt(lit("u8")), true),
            // Of these no file has a filter.
            (column("service_name").eq(lit("cart")), true),
            (column("duration_ns").eq(lit(7)), true),
        ] {
            assert_eq!(may(std::slice::from_ref(&filter), "", &held), expected, "{filter}");
        }
        let both = [user().eq(lit("u7")), has_word(body(), "alpha").or(trace().eq(lit("ab")))];
        let (words, columns) = Sought::of(&both).columns();
        assert!(words && columns.iter().map(|c| &**c).eq(["attributes.user.id", "trace_id"]));
        assert_eq!(Sought::of(&[column("name").eq(lit("x"))]), Sought::Anything);
    }
}
