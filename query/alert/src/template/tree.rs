//! What Go's template engine says when it parses and gotmpl only when it runs: names that there are not. And one thing that
//! gotmpl does otherwise: numbers that an action prints are written as Go writes them. Works on parsed trees.

use std::collections::BTreeSet;

use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, PipeNode, SmolStr};

/// The function that every printing action ends with; its name cannot be written in a template.
pub(super) const PRINTED: &str = "(printed)";

/// The functions of Go's text/template.
const BUILT_IN: [&str; 20] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery", PRINTED,
];

/// What a template may name.
pub(super) struct Names<'a> {
    pub(super) functions: &'a dyn Fn(&str) -> bool,
    pub(super) templates: &'a BTreeSet<String>,
}

/// Checks a tree and makes its actions print numbers as Go does.
pub(super) fn finish(tree: &mut ListNode, names: &Names<'_>) -> Result<(), String> {
    list(tree, names, &mut vec![SmolStr::new("$")])
}

/// Declarations in a list end with it.
fn list(tree: &mut ListNode, names: &Names<'_>, scope: &mut Vec<SmolStr>) -> Result<(), String> {
    let outer = scope.len();
    for node in &mut tree.nodes {
        match node {
            Node::List(inner) => list(inner, names, scope)?,
            Node::Action(action) => {
                pipe(&action.pipe, names, scope)?;
                if action.pipe.decl.is_empty() {
                    let printed = Expr::Identifier(action.pos, SmolStr::new(PRINTED));
                    action.pipe.commands.push(CommandNode { pos: action.pos, args: vec![printed] });
                }
            }
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => self::branch(branch, names, scope)?,
            Node::Template(call) => {
                if !names.templates.contains(call.name.as_str()) {
                    return Err(format!("template {:?} not defined", call.name));
                }
                call.pipe.as_ref().map_or(Ok(()), |with| pipe(with, names, scope))?;
            }
            // Kept apart from the tree, and finished by itself.
            Node::Define(_) | Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
    scope.truncate(outer);
    Ok(())
}

fn branch(branch: &mut BranchNode, names: &Names<'_>, scope: &mut Vec<SmolStr>) -> Result<(), String> {
    let outer = scope.len();
    pipe(&branch.pipe, names, scope)?;
    list(&mut branch.body, names, scope)?;
    if let Some(otherwise) = &mut branch.else_body {
        list(otherwise, names, scope)?;
    }
    scope.truncate(outer);
    Ok(())
}

fn pipe(pipe: &PipeNode, names: &Names<'_>, scope: &mut Vec<SmolStr>) -> Result<(), String> {
    for expr in pipe.commands.iter().flat_map(|command| &command.args) {
        self::expr(expr, names, scope)?;
    }
    for name in &pipe.decl {
        if pipe.is_assign {
            variable(name, scope)?;
        } else {
            scope.push(name.clone());
        }
    }
    Ok(())
}

fn expr(expr: &Expr, names: &Names<'_>, scope: &mut Vec<SmolStr>) -> Result<(), String> {
    match expr {
        Expr::Variable(_, name, _) => variable(name, scope),
        Expr::Identifier(_, name) if BUILT_IN.contains(&name.as_str()) || (names.functions)(name) => Ok(()),
        Expr::Identifier(_, name) => Err(format!("function {name:?} not defined")),
        Expr::Pipe(_, inner) => {
            let outer = scope.len();
            pipe(inner, names, scope)?;
            scope.truncate(outer);
            Ok(())
        }
        Expr::Chain(_, inner, _) => self::expr(inner, names, scope),
        _ => Ok(()),
    }
}

fn variable(name: &SmolStr, scope: &[SmolStr]) -> Result<(), String> {
    if scope.contains(name) { Ok(()) } else { Err(format!("undefined variable {name:?}")) }
}
