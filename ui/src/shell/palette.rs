//! The palette: paste a trace id, jump to a service or a page.

use leptos::html;
use leptos::prelude::*;
use orrery_api::Services;

use super::PAGES;
use crate::context::use_app;
use crate::fetch::fetch;
use crate::filter;
use crate::parts::icon::{Icon, icon};
use crate::parts::service::{service_path, service_text};

/// How many answers are offered.
const MOST: usize = 12;

#[derive(Clone, PartialEq)]
struct Offer {
    icon: Icon,
    what: &'static str,
    name: String,
    href: String,
}

#[component]
pub fn Palette() -> impl IntoView {
    let app = use_app();
    let text = RwSignal::new(String::new());
    let at = RwSignal::new(0_usize);
    let services = fetch::<Services>(move || Some(app.ask(None).href("/api/v1/services")));
    let offers = Memo::new(move |_| {
        let wanted = text.with(|t| t.trim().to_lowercase());
        let mut found = Vec::new();
        if let Some(id) = filter::trace_id(&wanted) {
            found.push(Offer {
                icon: Icon::Traces,
                what: "Trace",
                href: app.link(&format!("/trace/{id}"), &[]),
                name: id,
            });
        }
        let pages = PAGES.into_iter().filter(|(_, name, _)| name.to_lowercase().contains(&wanted));
        found.extend(pages.map(|(path, name, icon)| Offer {
            icon,
            what: "Page",
            name: name.to_owned(),
            href: app.link(path, &[]),
        }));
        if let Some(known) = services.data.get() {
            let matching = known.services.iter().filter(|s| s.id.to_lowercase().contains(&wanted));
            found.extend(matching.map(|s| Offer {
                icon: Icon::Services,
                what: "Service",
                name: s.id.clone(),
                href: app.link(&service_path(&s.id), &[]),
            }));
        }
        if !wanted.is_empty() && found.is_empty() && !services.loading.get() {
            found.push(Offer {
                icon: Icon::Logs,
                what: "Search logs for",
                name: text.with(|t| t.trim().to_owned()),
                href: app.link("/logs", &[("text", text.with(|t| t.trim().to_owned()).as_str())]),
            });
        }
        found.truncate(MOST);
        found
    });
    let input = NodeRef::<html::Input>::new();
    Effect::new(move |_| {
        if let Some(input) = input.get() {
            // Focus cannot fail on an element that is in the page.
            let _ = input.focus();
        }
    });
    let go = move |offer: &Offer| {
        app.palette.set(false);
        app.go(&offer.href, false);
    };
    let keydown = move |event: web_sys::KeyboardEvent| {
        let count = offers.with_untracked(Vec::len).max(1);
        match event.key().as_str() {
            "Escape" => app.palette.set(false),
            "ArrowDown" => {
                event.prevent_default();
                at.update(|a| *a = (*a + 1) % count);
            }
            "ArrowUp" => {
                event.prevent_default();
                at.update(|a| *a = (*a + count - 1) % count);
            }
            "Enter" => {
                if let Some(offer) = offers.get_untracked().get(at.get_untracked()) {
                    go(offer);
                }
            }
            // The dialog is modal: the one field keeps the focus.
            "Tab" => event.prevent_default(),
            _ => {}
        }
    };
    view! {
        <div class="veil" on:pointerdown=move |_| app.palette.set(false)>
            <div class="palette" role="dialog" aria-modal="true" aria-label="Find" on:pointerdown=move |event| event.stop_propagation()>
                <div class="palette-input">
                    {icon(Icon::Search)}
                    <input node_ref=input type="text" spellcheck="false" autocomplete="off" role="combobox" aria-label="Find a trace, service or page"
                        aria-controls="palette-offers" aria-expanded="true" aria-autocomplete="list"
                        aria-activedescendant=move || format!("offer-{}", at.get())
                        placeholder="Paste a trace ID, or type a service or page"
                        prop:value=move || text.get()
                        on:input=move |event| { text.set(event_target_value(&event)); at.set(0); }
                        on:keydown=keydown/>
                    <kbd>"Esc"</kbd>
                </div>
                <ul id="palette-offers" role="listbox" aria-label="Results">
                    {move || offers.get().into_iter().enumerate().map(|(i, offer)| {
                        let chosen = offer.clone();
                        view! {
                            <li role="option" id=format!("offer-{i}") aria-selected=move || (at.get() == i).to_string()
                                on:pointerenter=move |_| at.set(i) on:click=move |_| go(&chosen)>
                                {icon(offer.icon)}{if offer.what == "Service" { service_text(&offer.name).into_any() } else { view! { <span class="clip">{offer.name}</span> }.into_any() }}<span class="grow"></span><span class="faint">{offer.what}</span>
                            </li>
                        }
                    }).collect_view()}
                </ul>
            </div>
        </div>
    }
}
