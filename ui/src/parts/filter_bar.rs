//! The query bar: a filter expression in SQL, applied on Enter, with completion of columns and attribute keys.

use leptos::html;
use leptos::prelude::*;
use orrery_api::Attributes;

use super::icon::{Icon, icon};
use crate::context::use_app;
use crate::fetch::fetch;
use crate::filter;

/// Columns worth filtering by, per table.
fn columns(table: &str) -> &'static [&'static str] {
    match table {
        "logs" => &[
            "service_name",
            "severity_text",
            "severity_number",
            "body",
            "event_name",
            "trace_id",
            "span_id",
            "deployment_environment",
        ],
        "metrics" => &["service_name", "metric_name", "deployment_environment"],
        _ => &[
            "service_name",
            "name",
            "kind",
            "status_code",
            "duration_ns",
            "status_message",
            "deployment_environment",
            "service_version",
        ],
    }
}

#[component]
pub fn FilterBar(table: &'static str, placeholder: &'static str) -> impl IntoView {
    let app = use_app();
    let applied = app.param("filter");
    let text = RwSignal::new(String::new());
    Effect::new(move |_| text.set(applied.get().unwrap_or_default()));
    let input = NodeRef::<html::Input>::new();
    let focused = RwSignal::new(false);
    let chosen = RwSignal::new(None::<usize>);
    // Keys are asked for when the bar is first used.
    let wanted = RwSignal::new(false);
    let keys = fetch::<Attributes>(move || {
        wanted.get().then(|| {
            let mut query = app.ask(None);
            query.set("signal", Some(table));
            query.href("/api/v1/attributes")
        })
    });
    let offers = Memo::new(move |_| {
        if !focused.get() {
            return Vec::new();
        }
        let word = last_word(&text.get());
        if word.len() < 2 || word.starts_with('\'') {
            return Vec::new();
        }
        let wanted = word.to_lowercase();
        let mut found: Vec<String> =
            columns(table).iter().filter(|c| c.contains(&wanted) && **c != word).map(|c| (*c).to_owned()).collect();
        if let Some(known) = keys.data.get() {
            let matching = known.attributes.iter().filter(|a| a.key.to_lowercase().contains(&wanted));
            found.extend(matching.map(|a| {
                let map = match a.scope.as_str() {
                    "resource" => "resource_attributes",
                    "scope" => "scope_attributes",
                    _ => "attributes",
                };
                format!("{map}[{}]", filter::quote(&a.key))
            }));
        }
        found.truncate(8);
        found
    });
    let accept = move |offer: &str| {
        text.update(|t| {
            let keep = t.len() - last_word(t).len();
            t.truncate(keep);
            t.push_str(offer);
            t.push(' ');
        });
        chosen.set(None);
        if let Some(input) = input.get_untracked() {
            // Focus cannot fail on an element that is in the page.
            let _ = input.focus();
        }
    };
    let apply = move || {
        focused.set(false);
        let value = text.get_untracked();
        app.set(&[("filter", Some(value.trim()))]);
    };
    let keydown = move |event: web_sys::KeyboardEvent| {
        let count = offers.with_untracked(Vec::len);
        match event.key().as_str() {
            "ArrowDown" if count > 0 => {
                event.prevent_default();
                chosen.update(|c| *c = Some(c.map_or(0, |c| (c + 1) % count)));
            }
            "ArrowUp" if count > 0 => {
                event.prevent_default();
                chosen.update(|c| *c = Some(c.map_or(count - 1, |c| (c + count - 1) % count)));
            }
            "Tab" | "Enter" if chosen.get_untracked().is_some() && count > 0 => {
                event.prevent_default();
                let at = chosen.get_untracked().unwrap_or(0).min(count - 1);
                accept(&offers.get_untracked()[at]);
            }
            "Enter" => apply(),
            "Escape" => {
                focused.set(false);
                chosen.set(None);
            }
            _ => {
                focused.set(true);
                chosen.set(None);
            }
        }
    };
    let list_id = format!("offers-{table}");
    let controls = list_id.clone();
    view! {
        <div class="filter-bar" role="search">
            <span class="filter-icon">{icon(Icon::Filter)}</span>
            <input
                node_ref=input
                class="mono"
                type="text"
                spellcheck="false"
                autocomplete="off"
                autocapitalize="off"
                role="combobox"
                aria-label="Filter expression"
                aria-autocomplete="list"
                aria-controls=controls
                aria-expanded=move || (!offers.with(Vec::is_empty)).to_string()
                placeholder=placeholder
                prop:value=move || text.get()
                on:input=move |event| { text.set(event_target_value(&event)); focused.set(true); }
                on:focus=move |_| wanted.set(true)
                on:blur=move |_| focused.set(false)
                on:keydown=keydown
            />
            <Show when=move || applied.get().is_some()>
                <button type="button" class="button ghost small" aria-label="Clear the filter" on:click=move |_| app.set(&[("filter", None)])>{icon(Icon::Close)}</button>
            </Show>
            <button type="button" class="button" on:click=move |_| apply()>"Apply"</button>
            <ul class="offers" id=list_id role="listbox" aria-label="Completions" class:open=move || !offers.with(Vec::is_empty)>
                {move || offers.get().into_iter().enumerate().map(|(i, offer)| {
                    let taken = offer.clone();
                    view! {
                        <li role="option" class="mono" aria-selected=move || (chosen.get() == Some(i)).to_string()
                            on:pointerdown=move |event| { event.prevent_default(); accept(&taken); }>{offer}</li>
                    }
                }).collect_view()}
            </ul>
        </div>
    }
}

/// The word being typed: back to a space, a parenthesis or an operator.
fn last_word(text: &str) -> String {
    let from = text.rfind([' ', '(', ')', '=', '<', '>', '!', ',']).map_or(0, |at| at + 1);
    text[from..].to_owned()
}
