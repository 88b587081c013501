//! Sortable column headers, their state in the address: `sort=p95` or `sort=-p95`.

use leptos::prelude::*;

use crate::context::{Context, use_app};

/// The column sorted by and whether it descends.
pub fn current(app: Context, default: &'static str) -> Memo<(String, bool)> {
    let param = app.param("sort");
    Memo::new(move |_| {
        let text = param.get().unwrap_or_else(|| default.to_owned());
        match text.strip_prefix('-') {
            Some(column) => (column.to_owned(), true),
            None => (text, false),
        }
    })
}

/// A header cell that sorts; the first click descends for figures and ascends for text.
#[component]
pub fn Header(
    sort: Memo<(String, bool)>,
    column: &'static str,
    title: &'static str,
    #[prop(optional)] figure: bool,
    /// Left out where the screen is narrow.
    #[prop(optional)]
    quiet: bool,
) -> impl IntoView {
    let app = use_app();
    let state = move || sort.with(|(by, down)| (by == column).then_some(*down));
    let click = move |_| {
        let down = match state() {
            Some(down) => !down,
            None => figure,
        };
        let value = if down { format!("-{column}") } else { column.to_owned() };
        app.replace(&[("sort", Some(&value))]);
    };
    view! {
        <th scope="col" class:figure=figure class:quiet-cell=quiet aria-sort=move || match state() {
            Some(true) => "descending",
            Some(false) => "ascending",
            None => "none",
        }>
            <button type="button" class="sort" on:click=click>
                {title}
                <span class="sort-mark" aria-hidden="true">{move || match state() { Some(true) => "↓", Some(false) => "↑", None => "" }}</span>
            </button>
        </th>
    }
}
