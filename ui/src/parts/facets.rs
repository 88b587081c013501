//! Facets beside a list: the commonest values of columns and attributes among what matches, each a switch that puts its
//! condition into the filter or takes it out again.

use leptos::html;
use leptos::prelude::*;
use orrery_api::{AttributeKey, Attributes};

use crate::context::use_app;
use crate::facets::{self, Counted, Facet};
use crate::fetch::{fetch, fetch_sql};
use crate::filter;
use crate::format;
use crate::parts::icon::{Icon, icon};
use crate::parts::size::use_size;
use crate::parts::state::answer;

/// The least width of list and facets together, in CSS pixels.
const LEAST: f64 = 800.0;

/// Columns of a table as facets: the column and its title.
type Columns = &'static [(&'static str, &'static str)];

/// Shows or hides the facets; in the address like everything else.
#[component]
pub fn FacetsToggle() -> impl IntoView {
    let app = use_app();
    let param = app.param("facets");
    let shown = move || param.get().as_deref() != Some("off");
    view! {
        <button type="button" class="button facets-toggle" class:on=shown aria-pressed=move || shown().to_string()
            on:click=move |_| app.replace(&[("facets", shown().then_some("off"))])>{icon(Icon::Filter)}"Facets"</button>
    }
}

/// The facets, and the list beside them.
#[component]
pub fn WithFacets(
    table: &'static str,
    columns: Columns,
    /// What the page asks for beside the filter of the address.
    condition: Signal<Option<String>>,
    children: Children,
) -> impl IntoView {
    let app = use_app();
    let param = app.param("facets");
    let area = NodeRef::<html::Div>::new();
    let size = use_size(area);
    // Where there is no room for both, the list is what counts.
    let shown = Memo::new(move |_| size.get().0 >= LEAST && param.get().as_deref() != Some("off"));
    view! {
        <div class="with-facets" node_ref=area class:without=move || !shown.get()>
            <Show when=move || shown.get()><Facets table columns condition/></Show>
            <div class="facets-main">{children()}</div>
        </div>
    }
}

#[component]
fn Facets(table: &'static str, columns: Columns, condition: Signal<Option<String>>) -> impl IntoView {
    let app = use_app();
    let filter = app.param("filter");
    let names: Vec<&'static str> = columns.iter().map(|(column, _)| *column).collect();
    let asked = names.clone();
    let counts = fetch_sql(move || {
        let all = app.filter(filter::all(&[filter.get(), condition.get()]));
        Some(facets::sql(table, &asked, app.window.get(), all))
    });
    // Attributes cost more; they are counted once somebody asks for them.
    let wanted = RwSignal::new(false);
    let attributes = fetch::<Attributes>(move || {
        wanted.get().then(|| {
            app.ask(filter::all(&[filter.get(), condition.get()]))
                .with("signal", Some(table))
                .href("/api/v1/attributes")
        })
    });
    view! {
        <aside class="facets" aria-label="Facets">
            {move || match counts.failure.get() {
                // The list beside says what is wrong with a filter.
                Some(_) => view! { <p class="faint pad">"The values could not be counted."</p> }.into_any(),
                None => answer(counts, {
                    let names = names.clone();
                    move |data| {
                        let found = facets::read(&data, &names);
                        let title = |f: &Facet| columns.iter().find(|(c, _)| *c == f.column).map_or("", |(_, title)| *title);
                        found.iter().map(|f| facet(title(f).to_owned(), f.column.clone(), &f.values)).collect_view()
                    }
                }).into_any(),
            }}
            <details class="facet-more" on:toggle=move |_| wanted.set(true)>
                <summary>"Attributes"</summary>
                {move || wanted.get().then(|| answer(attributes, move |data| view! {
                    {data.attributes.iter().filter(|a| !a.top.is_empty() && is_new(a, columns)).map(attribute).collect_view()}
                    {data.receipt.partial.clone().map(|why| view! { <p class="faint facet-note">{why}</p> })}
                }))}
            </details>
        </aside>
    }
}

/// Whether a key is not a column above under another name.
fn is_new(key: &AttributeKey, columns: Columns) -> bool {
    let column = match key.key.as_str() {
        "deployment.environment.name" | "deployment.environment" => "deployment_environment".to_owned(),
        other => other.replace('.', "_"),
    };
    key.scope != "resource" || !columns.iter().any(|(c, _)| *c == column)
}

fn attribute(key: &AttributeKey) -> impl IntoView + use<> {
    let map = match key.scope.as_str() {
        "resource" => "resource_attributes",
        "scope" => "scope_attributes",
        _ => "attributes",
    };
    let expression = format!("{map}[{}]", filter::quote(&key.key));
    let values: Vec<Counted> =
        key.top.iter().map(|(value, count)| Counted { value: Some(value.clone()), count: *count }).collect();
    facet(key.key.clone(), expression, &values)
}

/// The values of one column or attribute; `expression` is what it is called in the filter.
fn facet(title: String, expression: String, values: &[Counted]) -> impl IntoView + use<> {
    let most = values.iter().map(|v| v.count).max().unwrap_or(1).max(1);
    let values = values.iter().map(|v| value(&expression, v, most)).collect_view();
    view! { <section class="facet"><h3 class="clip" title=expression.clone()>{title}</h3><ul>{values}</ul></section> }
}

fn value(expression: &str, counted: &Counted, most: u64) -> impl IntoView + use<> {
    let app = use_app();
    let current = app.param("filter");
    let condition = facets::condition(expression, counted.value.as_deref());
    let mine = condition.clone();
    let on = Memo::new(move |_| {
        current.with(|f| filter::conjuncts(f.as_deref().unwrap_or_default()).contains(&mine.as_str()))
    });
    let toggle =
        move |_| app.set(&[("filter", filter::toggled(current.get_untracked().as_deref(), &condition).as_deref())]);
    let title = facets::condition(expression, counted.value.as_deref());
    let shown = match counted.value.as_deref() {
        Some("") => view! { <span class="clip faint">"empty string"</span> }.into_any(),
        Some(value) => view! { <span class="clip">{value.to_owned()}</span> }.into_any(),
        None => view! { <span class="clip faint">"none"</span> }.into_any(),
    };
    view! {
        <li><button type="button" class="facet-value" title=title aria-pressed=move || on.get().to_string() on:click=toggle>
            <span class="facet-bar" aria-hidden="true" style:width=format!("{:.1}%", counted.count as f64 / most as f64 * 100.0)></span>
            {move || on.get().then(|| icon(Icon::Check))}{shown}<span class="figure" title=format::grouped(counted.count as i64)>{format::count(counted.count)}</span>
        </button></li>
    }
}
