//! The answer as a grid: columns sort, rows outside the view are not in the document, trace ids lead to their traces.

use std::cmp::Ordering;
use std::sync::Arc;

use leptos::html;
use leptos::prelude::*;
use orrery_api::SqlResponse;
use serde_json::Value;

use crate::context::use_app;
use crate::filter;
use crate::parts::size::use_size;
use crate::waterfall::{ROW, rows_in_view};

/// Characters of a cell that are shown; the title has more.
const MOST: usize = 200;
/// Rows that column widths are measured on.
const MEASURED: usize = 200;

#[component]
pub fn Grid(answer: Arc<SqlResponse>) -> impl IntoView {
    let sort = RwSignal::new(None::<(usize, bool)>);
    let count = answer.rows.len();
    let for_order = answer.clone();
    let order = Memo::new(move |_| {
        let mut order: Vec<usize> = (0..count).collect();
        if let Some((column, down)) = sort.get() {
            order.sort_by(|a, b| {
                let order = compare(&for_order.rows[*a][column], &for_order.rows[*b][column]);
                if down { order.reverse() } else { order }
            });
        }
        Arc::new(order)
    });
    let body = NodeRef::<html::Div>::new();
    let size = use_size(body);
    let scroll = RwSignal::new(0.0_f64);
    let in_view = Memo::new(move |_| rows_in_view(scroll.get(), size.get().1, ROW, count));
    let widths: Vec<f64> = (0..answer.columns.len()).map(|c| width(&answer, c)).collect();
    let template: String = widths.iter().map(|w| format!("minmax({w:.0}px, {w:.0}fr) ")).collect();
    let least = format!("{:.0}px", widths.iter().sum::<f64>());
    let (numeric, columns) = (numeric_columns(&answer), answer.columns.clone());
    let head = columns.into_iter().enumerate().map(|(i, column)| {
        let state = move || sort.get().filter(|(by, _)| *by == i).map(|(_, down)| down);
        let click = move |_| sort.update(|s| *s = match *s {
            Some((by, true)) if by == i => Some((i, false)),
            Some((by, false)) if by == i => None,
            _ => Some((i, true)),
        });
        view! {
            <div role="columnheader" class:figure=numeric[i] aria-sort=move || match state() { Some(true) => "descending", Some(false) => "ascending", None => "none" }>
                <button type="button" class="sort" title=column.data_type.clone() on:click=click>
                    <span class="clip">{column.name.clone()}</span>
                    <span class="sort-mark" aria-hidden="true">{move || match state() { Some(true) => "↓", Some(false) => "↑", None => "" }}</span>
                </button>
            </div>
        }
    }).collect_view();
    let numeric = numeric_columns(&answer);
    let row_template = template.clone();
    view! {
        <div class="result" node_ref=body role="table" tabindex="0" aria-label="Result" aria-rowcount=(count + 1).to_string()
            on:scroll=move |_| if let Some(body) = body.get_untracked() { scroll.set(f64::from(body.scroll_top())) }>
            <div role="rowgroup" class="result-head-row" style:min-width=least.clone()><div role="row" class="result-row head" style:grid-template-columns=template>{head}</div></div>
            <div role="rowgroup" class="result-all" style:min-width=least style:height=format!("{}px", count as f64 * ROW)>
                <For
                    each=move || { let order = order.get(); in_view.get().map(|at| (at, order[at])).collect::<Vec<_>>() }
                    key=|pair| *pair
                    children=move |(at, index)| {
                        let cells = answer.rows[index].iter().enumerate().map(|(c, value)| cell(&answer.columns[c].name, value, numeric[c])).collect_view();
                        view! {
                            <div role="row" class="result-row" aria-rowindex=(at + 2).to_string() style:top=format!("{}px", at as f64 * ROW) style:grid-template-columns=row_template.clone()>{cells}</div>
                        }
                    }
                />
            </div>
        </div>
    }
}

fn cell(column: &str, value: &Value, numeric: bool) -> impl IntoView + use<> {
    let app = use_app();
    let text = text_of(value);
    let shown: String = text.chars().take(MOST).collect();
    let trace = (column.ends_with("trace_id")).then(|| filter::trace_id(&text)).flatten();
    let content = match (value, trace) {
        (Value::Null, _) => view! { <span class="faint">"NULL"</span> }.into_any(),
        (_, Some(id)) => {
            let path = format!("/trace/{id}");
            view! { <a class="trace-link" title="Open the trace" href=move || app.link(&path, &[])>{shown}</a> }
                .into_any()
        }
        _ => shown.into_any(),
    };
    view! { <div role="cell" class="mono" class:figure=numeric title=text>{content}</div> }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Numbers by size, the rest as text, NULL last.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        (Value::Number(x), Value::Number(y)) => match (x.as_i64(), y.as_i64()) {
            (Some(x), Some(y)) => x.cmp(&y),
            _ => x.as_f64().unwrap_or(0.0).total_cmp(&y.as_f64().unwrap_or(0.0)),
        },
        _ => text_of(a).cmp(&text_of(b)),
    }
}

fn numeric_columns(answer: &SqlResponse) -> Vec<bool> {
    let number =
        |t: &str| ["INT", "DOUBLE", "FLOAT", "DECIMAL", "REAL"].iter().any(|n| t.contains(n)) && !t.contains('(');
    answer.columns.iter().map(|c| number(&c.data_type.to_uppercase())).collect()
}

/// As wide as the longest of the first cells, within bounds; in pixels, so that the head and the rows agree.
fn width(answer: &SqlResponse, column: usize) -> f64 {
    const CHARACTER: f64 = 7.3;
    let cells = answer.rows.iter().take(MEASURED).map(|row| text_of(&row[column]).chars().count());
    let most = cells.chain([answer.columns[column].name.chars().count() + 2]).max().unwrap_or(8);
    most.clamp(6, 60) as f64 * CHARACTER + 24.0
}
