//! Which files a query need not open, from what the catalog knows of each: the ends of `timestamp` and the filter of
//! trace ids. Errs only towards opening.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use orrery_storage::{DataFile, TraceFilters};

use super::receipt::{FilesLeftOut, Means};

/// What rows a condition can be true for: times within the ends, and one of the trace ids and one of the services where
/// there are any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    pub min_ns: i64,
    pub max_ns: i64,
    pub trace_ids: Option<BTreeSet<String>>,
    /// By `service_name`.
    pub services: Option<BTreeSet<String>>,
}

impl Reach {
    const ANY: Self = Self { min_ns: i64::MIN, max_ns: i64::MAX, trace_ids: None, services: None };

    const fn times(min_ns: i64, max_ns: i64) -> Self {
        Self { min_ns, max_ns, ..Self::ANY }
    }

    /// Of rows for which all conditions are true.
    pub fn of(filters: &[Expr]) -> Self {
        filters.iter().map(reach).fold(Self::ANY, Self::and)
    }

    fn and(self, other: Self) -> Self {
        let both = |a: Option<BTreeSet<String>>, b: Option<BTreeSet<String>>| match (a, b) {
            (Some(a), Some(b)) => Some(&a & &b),
            (a, b) => a.or(b),
        };
        Self {
            min_ns: self.min_ns.max(other.min_ns),
            max_ns: self.max_ns.min(other.max_ns),
            trace_ids: both(self.trace_ids, other.trace_ids),
            services: both(self.services, other.services),
        }
    }

    fn or(self, other: Self) -> Self {
        let either = |a: Option<BTreeSet<String>>, b: Option<BTreeSet<String>>| Some(&a? | &b?);
        Self {
            min_ns: self.min_ns.min(other.min_ns),
            max_ns: self.max_ns.max(other.max_ns),
            trace_ids: either(self.trace_ids, other.trace_ids),
            services: either(self.services, other.services),
        }
    }

    /// Whether times between these two, inclusive, are within reach.
    pub fn meets(&self, min_ns: i64, max_ns: i64) -> bool {
        max_ns >= self.min_ns && min_ns <= self.max_ns
    }
}

/// The files that may hold a row within reach, newest first, and how many were left out by what.
pub(super) async fn files(
    files: &[Arc<DataFile>],
    reach: &Reach,
    trace_filters: &TraceFilters,
) -> Result<(Vec<Arc<DataFile>>, FilesLeftOut)> {
    let mut left_out = FilesLeftOut::default();
    let mut kept: Vec<_> =
        files.iter().filter(|f| reach.meets(f.min_timestamp_ns, f.max_timestamp_ns)).cloned().collect();
    left_out[Means::Time as usize] = files.len() - kept.len();
    if let Some(ids) = &reach.trace_ids {
        let in_time = kept.len();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut may_hold = if ids.is_empty() {
            vec![false; in_time]
        } else {
            trace_filters.may_hold(&kept, &ids).await.map_err(|e| DataFusionError::External(Box::new(e)))?
        }
        .into_iter();
        kept.retain(|_| may_hold.next().unwrap_or(true));
        left_out[Means::TraceId as usize] = in_time - kept.len();
    }
    // A query for the newest rows can then stop early.
    kept.sort_by_key(|file| std::cmp::Reverse(file.max_timestamp_ns));
    Ok((kept, left_out))
}

/// The first and the last time that a row can have for which all filters are true.
pub(crate) fn times(filters: &[Expr]) -> (i64, i64) {
    let reach = Reach::of(filters);
    (reach.min_ns, reach.max_ns)
}

/// Whether a condition asks for nothing but times.
pub(super) fn is_of_times(filter: &Expr) -> bool {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            is_of_times(left) && is_of_times(right)
        }
        other => time_compared(other).is_some(),
    }
}

/// Whether a condition that [`is_of_times`] is true for all times between these two, inclusive.
pub(super) fn is_true_within(filter: &Expr, min_ns: i64, max_ns: i64) -> bool {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            is_true_within(left, min_ns, max_ns) && is_true_within(right, min_ns, max_ns)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            is_true_within(left, min_ns, max_ns) || is_true_within(right, min_ns, max_ns)
        }
        other => time_compared(other).is_some_and(|(first, last)| first <= min_ns && max_ns <= last),
    }
}

/// The first and the last time of a comparison of a row's time with another.
fn time_compared(expr: &Expr) -> Option<(i64, i64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let (column, op, value) = match (&**left, &**right) {
        (Expr::Column(column), Expr::Literal(value, _)) => (column, *op, value),
        (Expr::Literal(value, _), Expr::Column(column)) => (column, op.swap()?, value),
        _ => return None,
    };
    if column.name == "timestamp" { times_compared(op, nanoseconds(value)?) } else { None }
}

fn reach(expr: &Expr) -> Reach {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => reach(left).and(reach(right)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => reach(left).or(reach(right)),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (&**left, &**right) {
            (Expr::Column(column), Expr::Literal(value, _)) => compared(&column.name, *op, value),
            (Expr::Literal(value, _), Expr::Column(column)) => {
                op.swap().map_or(Reach::ANY, |op| compared(&column.name, op, value))
            }
            _ => Reach::ANY,
        },
        Expr::Between(between) if !between.negated => match (&*between.expr, &*between.low, &*between.high) {
            (Expr::Column(column), Expr::Literal(low, _), Expr::Literal(high, _)) => {
                compared(&column.name, Operator::GtEq, low).and(compared(&column.name, Operator::LtEq, high))
            }
            _ => Reach::ANY,
        },
        Expr::InList(list) if !list.negated => {
            let Expr::Column(column) = &*list.expr else { return Reach::ANY };
            let values: Option<Vec<_>> =
                list.list.iter().map(|e| if let Expr::Literal(value, _) = e { Some(value) } else { None }).collect();
            values.map_or(Reach::ANY, |values| {
                let each = values.into_iter().map(|value| compared(&column.name, Operator::Eq, value));
                each.reduce(Reach::or).unwrap_or(Reach::ANY)
            })
        }
        _ => Reach::ANY,
    }
}

fn compared(column: &str, op: Operator, value: &ScalarValue) -> Reach {
    match (column, op) {
        ("timestamp", _) => {
            let Some(ns) = nanoseconds(value) else { return Reach::ANY };
            times_compared(op, ns).map_or(Reach::ANY, |(min_ns, max_ns)| Reach::times(min_ns, max_ns))
        }
        ("trace_id" | "service_name", Operator::Eq) => {
            // Nothing equals NULL.
            let Some(text) = value.try_as_str() else { return Reach::ANY };
            let texts = Some(text.map(str::to_owned).into_iter().collect());
            match column {
                "trace_id" => Reach { trace_ids: texts, ..Reach::ANY },
                _ => Reach { services: texts, ..Reach::ANY },
            }
        }
        _ => Reach::ANY,
    }
}

/// The first and the last time that compares so to another; `None` where that says nothing.
pub(crate) const fn times_compared(op: Operator, ns: i64) -> Option<(i64, i64)> {
    match op {
        Operator::Eq => Some((ns, ns)),
        Operator::Gt => Some((ns.saturating_add(1), i64::MAX)),
        Operator::GtEq => Some((ns, i64::MAX)),
        Operator::Lt => Some((i64::MIN, ns.saturating_sub(1))),
        Operator::LtEq => Some((i64::MIN, ns)),
        _ => None,
    }
}

fn nanoseconds(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampNanosecond(Some(ns), None) => Some(*ns),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{and, binary_expr, col, lit, or};
    use proptest::prelude::*;

    use super::*;

    const OPERATORS: [Operator; 6] =
        [Operator::Eq, Operator::Gt, Operator::GtEq, Operator::Lt, Operator::LtEq, Operator::NotEq];

    fn time(ns: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(ns), None))
    }

    /// A condition, and the times from 0 to 9 that it is true for.
    fn condition() -> impl Strategy<Value = (Expr, [bool; 10])> {
        let compared = (0..10_i64, 0..OPERATORS.len(), any::<bool>()).prop_map(|(other, op, turned)| {
            let op = OPERATORS[op];
            let is_true = |time: i64| match op {
                Operator::Eq => time == other,
                Operator::Gt => time > other,
                Operator::GtEq => time >= other,
                Operator::Lt => time < other,
                Operator::LtEq => time <= other,
                _ => time != other,
            };
            let (left, op, right) = if turned {
                (time(other), op.swap().expect("a comparison"), col("timestamp"))
            } else {
                (col("timestamp"), op, time(other))
            };
            (binary_expr(left, op, right), std::array::from_fn(|time| is_true(time as i64)))
        });
        compared.prop_recursive(3, 8, 2, |inner| {
            (inner.clone(), inner, any::<bool>()).prop_map(|((a, in_a), (b, in_b), both)| {
                let is_true = std::array::from_fn(|i| if both { in_a[i] && in_b[i] } else { in_a[i] || in_b[i] });
                (if both { and(a, b) } else { or(a, b) }, is_true)
            })
        })
    }

    proptest! {
        #[test]
        fn a_condition_on_times_is_left_out_only_where_it_is_true_for_all(
            (condition, is_true) in condition(), first in 0..10_usize, more in 0..10_usize,
        ) {
            let last = (first + more).min(9);
            if is_of_times(&condition) && is_true_within(&condition, first as i64, last as i64) {
                prop_assert!(is_true[first..=last].iter().all(|is| *is), "{}", condition);
            }
        }
    }

    #[test]
    fn a_range_of_times_is_true_within_itself() {
        let range = and(col("timestamp").gt_eq(time(3)), time(7).gt(col("timestamp")));
        assert!(is_of_times(&range));
        for (first, last, expected) in [(3, 6, true), (4, 4, true), (2, 6, false), (3, 7, false)] {
            assert_eq!(is_true_within(&range, first, last), expected, "{first} to {last}");
        }
        for other in [
            col("duration_ns").gt(lit(1)),
            and(col("timestamp").gt(time(1)), col("name").eq(lit("x"))),
            col("timestamp").gt(col("end")),
            col("timestamp").is_null(),
        ] {
            assert!(!is_of_times(&other), "{other}");
        }
    }
}
