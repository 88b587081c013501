//! What is decided on the text of a statement, before names mean anything: `attribute('k')` becomes the look-ups it
//! stands for, and a column without an alias is named as it was typed.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Select, SelectItem, SetExpr, Statement, Subscript, Value, VisitMut, VisitorMut, visit_expressions,
};

use crate::QueryError;
use crate::attributes::renamed;

/// Rewrites a statement in place.
pub(crate) fn statement(statement: &mut Statement) -> Result<(), QueryError> {
    finish(statement.visit(&mut Rewriter))
}

/// Rewrites an expression in place.
pub(crate) fn expression(expr: &mut Expr) -> Result<(), QueryError> {
    finish(expr.visit(&mut Rewriter))
}

fn finish(flow: ControlFlow<QueryError>) -> Result<(), QueryError> {
    match flow {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = QueryError;

    fn pre_visit_query(&mut self, query: &mut datafusion::sql::sqlparser::ast::Query) -> ControlFlow<QueryError> {
        name_columns(&mut query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<QueryError> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        if !is_attribute(function) {
            return ControlFlow::Continue(());
        }
        match argument(function) {
            Some(key) => {
                *expr = lookups(key);
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(
                QueryError::bad_request("attribute takes one string literal")
                    .with_hint("attribute('http.request.method')"),
            ),
        }
    }
}

fn name_columns(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => name_items(select),
        SetExpr::SetOperation { left, right, .. } => {
            name_columns(left);
            name_columns(right);
        }
        _ => {}
    }
}

/// Names the columns that are, or hold, a look-up; the others keep DataFusion's names.
fn name_items(select: &mut Select) {
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let found = visit_expressions(expr, |e| match e {
            Expr::CompoundFieldAccess { .. } => ControlFlow::Break(()),
            Expr::Function(function) if is_attribute(function) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        if found.is_break() {
            let alias = Ident::with_quote('"', expr.to_string());
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

fn is_attribute(function: &Function) -> bool {
    function.name.to_string().eq_ignore_ascii_case("attribute")
}

fn argument(function: &Function) -> Option<&str> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] = list.args.as_slice() else { return None };
    if let Value::SingleQuotedString(key) = &value.value { Some(key) } else { None }
}

fn lookups(key: &str) -> Expr {
    let scope = renamed::scope(key);
    let one = |name: &str| Expr::CompoundFieldAccess {
        root: Box::new(Expr::Identifier(Ident::new(scope.map_name()))),
        access_chain: vec![AccessExpr::Subscript(Subscript::Index {
            index: Expr::Value(Value::SingleQuotedString(name.to_owned()).into()),
        })],
    };
    let mut each: Vec<Expr> = renamed::names(key).into_iter().map(one).collect();
    if each.len() == 1 {
        return each.remove(0);
    }
    let args = each.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("coalesce")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
