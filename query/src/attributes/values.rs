//! The columns that no file holds, as expressions over those that it does: a whole attribute map, and the value of one
//! key. Conditions on a key are taken apart, so that files can answer the part that is on its column.

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::nullif;
use datafusion::logical_expr::expr::{Between, InList, Like};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TryCast, binary_expr, cast, lit, try_cast, when};
use orrery_model::attribute::{OLD_DEPLOYMENT_ENVIRONMENT, UNKNOWN_SERVICE};
use orrery_model::schema::map_type;
use orrery_model::{LearnedColumn, Promoted, Scope, Table, ValueType};

use crate::functions::{attribute_map, map_get, nothing_of, stored_map};

/// A column of a signal's table that is put together from stored ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Virtual {
    Whole(Scope),
    Key(Scope, String),
    /// A column of text as a dictionary, which files mostly have it as.
    Coded(&'static str),
}

/// A dictionary of few texts.
pub(crate) fn coded_type() -> DataType {
    DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into())
}

/// The name of a column as a dictionary.
pub(crate) fn coded(column: &str) -> String {
    format!("coded.{column}")
}

impl Virtual {
    pub fn field(&self) -> Field {
        match self {
            Self::Whole(scope) => Field::new(scope.map_name(), map_type(), false),
            Self::Key(scope, key) => Field::new(format!("{}['{key}']", scope.map_name()), DataType::Utf8, true),
            Self::Coded(column) => Field::new(coded(column), coded_type(), true),
        }
    }
}

/// What is known of the place that is read.
pub(crate) trait Place {
    /// Whether no row's stored map of this scope has the key. `false` where that is not known.
    fn lacks(&self, scope: Scope, key: &str) -> bool;

    /// The columns beyond the table's own that the place has for keys. What is there is not in the maps.
    fn learned(&self) -> &[LearnedColumn] {
        &[]
    }

    /// Whether a column is NULL, or an empty map or list, in every row. `false` where that is not known.
    fn is_empty(&self, _column: &str) -> bool {
        false
    }

    /// Whether a column is read as a dictionary.
    fn is_coded(&self, _column: &str) -> bool {
        false
    }
}

/// A place of which nothing is known: memory.
#[derive(Debug)]
pub(crate) struct Anywhere;

impl Place for Anywhere {
    fn lacks(&self, _scope: Scope, _key: &str) -> bool {
        false
    }
}

/// The columns of one table in one place.
pub(crate) struct Values<'a> {
    pub table: &'static Table,
    pub virtuals: &'a [Virtual],
    pub place: &'a dyn Place,
}

/// The two homes of a key's value; in any row at most one of them holds it.
struct Homes {
    column: Option<Home>,
    map: Option<Expr>,
}

/// A key's column as the home of its key's value.
struct Home {
    /// The value, NULL where the column does not hold it.
    value: Expr,
    /// What predicates are about, equal to `value` wherever `present`. A plain column where possible, for files to answer.
    subject: Expr,
    present: Expr,
    absent: Expr,
    value_type: ValueType,
}

impl Home {
    fn of(value: Expr, value_type: ValueType) -> Self {
        Self {
            subject: value.clone(),
            present: value.clone().is_not_null(),
            absent: value.clone().is_null(),
            value,
            value_type,
        }
    }

    fn text(self) -> Expr {
        if self.value_type == ValueType::Int { cast(self.value, DataType::Utf8) } else { self.value }
    }
}

/// The keys whose absence from stored maps would make virtual columns simpler.
pub(crate) fn map_keys(virtuals: &[&Virtual]) -> Vec<(Scope, String)> {
    let mut keys = Vec::new();
    for column in virtuals {
        if let Virtual::Key(scope, key) = column {
            keys.push((*scope, key.clone()));
            if *scope == Scope::Resource && key == "deployment.environment.name" {
                keys.push((*scope, OLD_DEPLOYMENT_ENVIRONMENT.to_owned()));
            }
        }
    }
    keys
}

impl Values<'_> {
    /// A virtual column over stored ones.
    pub fn value(&self, column: &Virtual) -> Expr {
        match column {
            Virtual::Whole(scope) => self.whole(*scope),
            Virtual::Key(scope, key) => {
                let homes = self.homes(*scope, key);
                match (homes.column.map(Home::text), homes.map) {
                    (Some(text), Some(map)) => first_of(text, map),
                    (one, other) => one.or(other).unwrap_or(Expr::Literal(ScalarValue::Utf8(None), None)),
                }
            }
            Virtual::Coded(column) if self.place.is_empty(column) => {
                Expr::Literal(ScalarValue::try_from(coded_type()).expect("every type has a NULL"), None)
            }
            Virtual::Coded(column) if self.place.is_coded(column) => stored(column),
            Virtual::Coded(column) => cast(self.column(column), coded_type()),
        }
    }

    /// A condition over stored columns that is true for the same rows; `None` where it is true for none. Where it is not
    /// true it may be NULL or false, whichever.
    pub fn condition(&self, expr: Expr) -> Result<Option<Expr>> {
        let split = expr.transform_down(|e| {
            Ok(match self.predicate(&e) {
                Some(split) => Transformed::new(split, true, TreeNodeRecursion::Jump),
                None => match self.virtual_of(&e) {
                    Some(column) => Transformed::new(self.value(column), true, TreeNodeRecursion::Jump),
                    None => match e {
                        Expr::Column(c) => Transformed::new(self.stored_column(&c.name), true, TreeNodeRecursion::Jump),
                        other => Transformed::no(other),
                    },
                },
            })
        })?;
        Ok(only_true(split.data))
    }

    /// A column of the table. A map of other attributes, and that of their types, is as if nothing had been learned: where
    /// a key lies is nobody's concern above.
    pub fn stored_column(&self, name: &str) -> Expr {
        let column = self.column(name);
        let Some(scope) = Scope::ALL.into_iter().find(|s| [s.other_name(), s.types_name()].contains(&name)) else {
            return column;
        };
        let is_types = scope.types_name() == name;
        let learned: Vec<_> = self
            .learned(scope)
            .filter(|c| !is_types || c.value_type != ValueType::String)
            .map(|c| {
                let home = Home::of(stored(&c.column_name()), c.value_type);
                let value = if is_types {
                    when(home.present, lit(c.value_type.word())).end().expect("a case of one branch is complete")
                } else {
                    home.text()
                };
                (c.key.clone(), value)
            })
            .collect();
        if learned.is_empty() { column } else { stored_map(column, learned) }
    }

    /// Those of the place that hold anything.
    fn learned(&self, scope: Scope) -> impl Iterator<Item = &LearnedColumn> {
        let learned = self.place.learned().iter().filter(move |column| column.scope == scope);
        learned.filter(|column| !self.place.is_empty(&column.column_name()))
    }

    /// A column of the table, which is not even read where it holds nothing.
    fn column(&self, name: &str) -> Expr {
        let field = self.table.schema.field_with_name(name).ok().filter(|_| self.place.is_empty(name));
        field.and_then(nothing).unwrap_or_else(|| {
            if self.place.is_coded(name) { cast(stored(name), DataType::Utf8) } else { stored(name) }
        })
    }

    fn whole(&self, scope: Scope) -> Expr {
        let is_held = |p: &&Promoted| p.scope == scope && !self.place.is_empty(&p.column_name());
        let promoted = self.table.promoted().map(|(_, p)| p).filter(is_held);
        let promoted = promoted.map(|p| (p.key.to_owned(), self.home(p).text()));
        let learned = self.learned(scope);
        let learned = learned.map(|c| (c.key.clone(), Home::of(stored(&c.column_name()), c.value_type).text()));
        attribute_map(self.column(scope.other_name()), promoted.chain(learned))
    }

    fn homes(&self, scope: Scope, key: &str) -> Homes {
        let promoted = self.table.promoted().map(|(_, p)| p).find(|p| p.scope == scope && p.key == key);
        let map = (!self.place.lacks(scope, key)).then(|| map_get(stored(scope.other_name()), lit(key)));
        let learned = || self.learned(scope).find(|c| c.key == key);
        let learned = || learned().map(|c| Home::of(stored(&c.column_name()), c.value_type));
        Homes { column: promoted.map(|p| self.home(p)).or_else(learned), map }
    }

    fn home(&self, promoted: &Promoted) -> Home {
        let column = self.column(&promoted.column_name());
        match promoted.key {
            "service.name" => Home {
                value: nullif(column.clone(), lit(UNKNOWN_SERVICE)),
                subject: column.clone(),
                present: column.clone().not_eq(lit(UNKNOWN_SERVICE)),
                absent: column.eq(lit(UNKNOWN_SERVICE)),
                value_type: ValueType::String,
            },
            "deployment.environment.name" => {
                Home::of(self.deployment_environment(column, promoted), promoted.value_type)
            }
            _ => Home::of(column, promoted.value_type),
        }
    }

    /// The column also holds the value of the older key, which is then in the map; and where both keys were sent with
    /// one value, the map has both.
    fn deployment_environment(&self, column: Expr, promoted: &Promoted) -> Expr {
        let map = || stored(promoted.scope.other_name());
        let mut own = Vec::new();
        if !self.place.lacks(promoted.scope, OLD_DEPLOYMENT_ENVIRONMENT) {
            let old = map_get(map(), lit(OLD_DEPLOYMENT_ENVIRONMENT));
            own.push(binary_expr(column.clone(), Operator::IsDistinctFrom, old));
        }
        if !self.place.lacks(promoted.scope, promoted.key) {
            own.push(map_get(map(), lit(promoted.key)).is_null());
        }
        match own.into_iter().reduce(Expr::and) {
            None => column,
            Some(own) => when(own, column).end().expect("a case of one branch is complete"),
        }
    }

    fn virtual_of(&self, expr: &Expr) -> Option<&Virtual> {
        let Expr::Column(column) = expr else { return None };
        self.virtuals.iter().find(|v| v.field().name() == &column.name)
    }

    /// A predicate whose subject is one key's column and whose other operands are literals, taken apart: on the key's
    /// column where that is not NULL, on the map where it is.
    fn predicate(&self, expr: &Expr) -> Option<Expr> {
        let (subject, operands) = parts(expr)?;
        let (column, number) = match subject {
            Expr::TryCast(TryCast { expr, field }) => (&**expr, Some(field.data_type().clone())),
            other => (other, None),
        };
        let Virtual::Key(scope, key) = self.virtual_of(column)? else { return None };
        if !operands.iter().all(|o| matches!(o, Expr::Literal(..))) {
            return None;
        }
        let homes = self.homes(*scope, key);
        let on_map = homes.map.map(|map| with_subject(expr, wrapped(map, number.as_ref())));
        let Some(home) = homes.column else {
            return Some(on_map.unwrap_or_else(|| with_subject(expr, Expr::Literal(ScalarValue::Utf8(None), None))));
        };
        let subject = |subject: &Expr| {
            if home.value_type == ValueType::Int {
                on_integers(expr, subject, number.as_ref(), &operands)
            } else {
                with_subject(expr, wrapped(subject.clone(), number.as_ref()))
            }
        };
        Some(match (expr, on_map) {
            (Expr::IsNull(_), Some(on_map)) => subject(&home.value).and(on_map),
            (Expr::IsNotNull(_), Some(on_map)) => subject(&home.value).or(on_map),
            (_, None) if home.subject == home.value => subject(&home.value),
            (Expr::IsNull(_) | Expr::IsNotNull(_), None) => subject(&home.value),
            (_, on_map) => {
                let on_map = on_map.unwrap_or(Expr::Literal(ScalarValue::Boolean(None), None));
                home.present.clone().and(subject(&home.subject)).or(home.absent.clone().and(on_map))
            }
        })
    }
}

/// `coalesce`, which DataFusion runs only where its optimizer still sees it.
fn first_of(first: Expr, second: Expr) -> Expr {
    when(first.clone().is_not_null(), first).otherwise(second).expect("a case with an otherwise is complete")
}

fn stored(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn wrapped(text: Expr, number: Option<&DataType>) -> Expr {
    match number {
        Some(number) => try_cast(text, number.clone()),
        None => text,
    }
}

/// The subject and the other operands of a predicate.
fn parts(expr: &Expr) -> Option<(&Expr, Vec<&Expr>)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.returns_null_on_null() && !op.is_logic_operator() => {
            match (&**left, &**right) {
                (Expr::Literal(..), subject) => Some((subject, vec![left])),
                (subject, Expr::Literal(..)) => Some((subject, vec![right])),
                _ => None,
            }
        }
        Expr::Between(Between { expr, low, high, .. }) => Some((expr, vec![low, high])),
        Expr::InList(InList { expr, list, .. }) => Some((expr, list.iter().collect())),
        Expr::Like(Like { expr, pattern, .. }) => Some((expr, vec![pattern])),
        Expr::IsNull(expr) | Expr::IsNotNull(expr) => Some((expr, Vec::new())),
        _ => None,
    }
}

/// The predicate of [`parts`] with another subject.
fn with_subject(expr: &Expr, subject: Expr) -> Expr {
    let mut expr = expr.clone();
    match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => {
            let place = if matches!(**left, Expr::Literal(..)) { right } else { left };
            **place = subject;
        }
        Expr::Between(Between { expr, .. })
        | Expr::InList(InList { expr, .. })
        | Expr::Like(Like { expr, .. })
        | Expr::IsNull(expr)
        | Expr::IsNotNull(expr) => **expr = subject,
        _ => {}
    }
    expr
}

/// The predicate on an integer column: over integers where the literals are, so that files can answer it.
fn on_integers(expr: &Expr, column: &Expr, number: Option<&DataType>, operands: &[&Expr]) -> Expr {
    let equality =
        matches!(expr, Expr::InList(_) | Expr::BinaryExpr(BinaryExpr { op: Operator::Eq | Operator::NotEq, .. }));
    let integers: Option<Vec<i64>> = operands
        .iter()
        .map(|operand| {
            let Expr::Literal(value, _) = operand else { return None };
            match number {
                Some(number) if number.is_numeric() => integral(value),
                Some(_) => None,
                // Text equals an integer's text only in the form that integers have.
                None if equality => {
                    value.try_as_str().flatten().and_then(|t| t.parse::<i64>().ok().filter(|i| i.to_string() == t))
                }
                None => None,
            }
        })
        .collect();
    match (integers, number) {
        (Some(integers), _) => {
            let mut rest = integers.into_iter();
            let replaced = with_subject(expr, column.clone());
            map_literals(replaced, &mut || lit(rest.next().expect("one a literal")))
        }
        (None, Some(number)) if number.is_numeric() => with_subject(expr, try_cast(column.clone(), number.clone())),
        (None, number) => with_subject(expr, wrapped(cast(column.clone(), DataType::Utf8), number)),
    }
}

/// Replaces the literal operands of a predicate of [`parts`], in order.
fn map_literals(mut expr: Expr, next: &mut dyn FnMut() -> Expr) -> Expr {
    match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => {
            let place = if matches!(**left, Expr::Literal(..)) { left } else { right };
            **place = next();
        }
        Expr::Between(Between { low, high, .. }) => {
            **low = next();
            **high = next();
        }
        Expr::InList(InList { list, .. }) => list.iter_mut().for_each(|e| *e = next()),
        _ => {}
    }
    expr
}

fn integral(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int64(i) => *i,
        #[expect(clippy::cast_possible_truncation, reason = "integral and small")]
        ScalarValue::Float64(Some(f)) if f.fract() == 0.0 && f.abs() <= 9e15 => Some(*f as i64),
        _ => None,
    }
}

/// The condition without what can never make it true; `None` where nothing can.
fn only_true(expr: Expr) -> Option<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            Some(only_true(*left)?.and(only_true(*right)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => match (only_true(*left), only_true(*right)) {
            (Some(left), Some(right)) => Some(left.or(right)),
            (one, other) => one.or(other),
        },
        Expr::Literal(ScalarValue::Boolean(None | Some(false)) | ScalarValue::Null, _) => None,
        other if null_subject(&other) => None,
        other => Some(other),
    }
}

/// Whether a predicate's subject is the literal NULL, so that it is NULL itself.
fn null_subject(expr: &Expr) -> bool {
    if matches!(expr, Expr::IsNull(_)) {
        return false;
    }
    let null = |operand: &Expr| match operand {
        Expr::Literal(value, _) => value.is_null(),
        Expr::TryCast(inner) => matches!(&*inner.expr, Expr::Literal(value, _) if value.is_null()),
        _ => false,
    };
    parts(expr).is_some_and(|(subject, operands)| {
        null(subject) || matches!(expr, Expr::BinaryExpr(_)) && operands.into_iter().any(null)
    })
}

/// NULL, or the map or list without entries where a column is never NULL.
fn nothing(field: &Field) -> Option<Expr> {
    if field.is_nullable() {
        return ScalarValue::try_from(field.data_type()).ok().map(|null| Expr::Literal(null, None));
    }
    nothing_of(field.data_type())
}
