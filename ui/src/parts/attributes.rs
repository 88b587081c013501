//! Attributes as a table: key, value, type, and the links from a value to the rows that have it.

use leptos::prelude::*;
use orrery_api::Attribute;

use super::copy::Copy;
use super::icon::{Icon, icon};
use crate::context::use_app;
use crate::filter;

/// The rows of one scope. `page` is where a value's filter leads (`/traces`, `/logs`), `map` the SQL map that it is of.
pub fn attributes(list: &[Attribute], page: &'static str, map: &'static str) -> impl IntoView + use<> {
    let app = use_app();
    if list.is_empty() {
        return view! { <p class="faint pad">"None were sent."</p> }.into_any();
    }
    let rows = list.iter().cloned().map(|attribute| {
        let Attribute { key, value, value_type } = attribute;
        let text = value.clone().unwrap_or_default();
        let expression = filter::attribute(map, &key, &text);
        let name = format!("Filter by {key} = {text}");
        let shown = match value {
            Some(v) if v.is_empty() => view! { <span class="faint">"empty string"</span> }.into_any(),
            Some(v) => v.into_any(),
            None => view! { <span class="faint">"empty value"</span> }.into_any(),
        };
        view! {
            <tr>
                <th scope="row"><code>{key.clone()}</code></th>
                <td class="value" class:number=value_type.as_deref().is_some_and(|t| matches!(t, "int" | "double"))>{shown}</td>
                <td class="type">{value_type.clone()}</td>
                <td class="acts">
                    <a class="button ghost small" title=name.clone() aria-label=name href=move || app.link(page, &[("filter", &expression)])>{icon(Icon::Filter)}</a>
                    <Copy text=text what=key/>
                </td>
            </tr>
        }
    });
    view! { <table class="attributes"><tbody>{rows.collect_view()}</tbody></table> }.into_any()
}
