//! The map beside itself of an earlier window: which one, and a list of what is not as it was.

use leptos::prelude::*;
use orrery_api::ServiceGraph;

use super::{Shared, choose};
use crate::context::{Context, use_app};
use crate::fetch::{Fetched, fetch};
use crate::instant;
use crate::map_compare::{AGAINST, Difference, Kind, Moved, earlier};
use crate::map_view::Hit;
use crate::parts::icon::{Icon, icon};
use crate::parts::popover::Popover;
use crate::parts::service::{of_node, service_text};
use crate::parts::state::answer;

/// The map of the window that the address compares with; none is asked for where it compares with none.
pub fn fetch_earlier(app: Context) -> Fetched<ServiceGraph> {
    let (against, filter) = (app.param("against"), app.param("filter"));
    fetch::<ServiceGraph>(move || {
        let window = earlier(app.window.get(), &against.get()?)?;
        let query = app
            .ask(filter.get())
            .with("start", Some(&window.start.to_string()))
            .with("end", Some(&window.end.to_string()));
        Some(query.href("/api/v1/service-graph"))
    })
}

#[component]
pub fn Choice() -> impl IntoView {
    let app = use_app();
    let against = app.param("against");
    let open = RwSignal::new(false);
    let name =
        move || against.get().and_then(|a| AGAINST.iter().find(|(value, ..)| *value == a)).map(|(_, name, _)| *name);
    let pick = move |value: Option<&str>| {
        app.set(&[("against", value)]);
        open.set(false);
    };
    view! {
        <Popover open label=Signal::derive(move || format!("Compare with: {}", name().unwrap_or("nothing")))
            class="choice" button=move || view! { <span class="clip">{move || name().map_or_else(|| "Compare".to_owned(), |name| format!("vs {name}"))}</span>{icon(Icon::Down)} }>
            <div class="menu">
                <button type="button" class="menu-item" class:here=move || name().is_none() on:click=move |_| pick(None)>"With nothing"</button>
                {AGAINST.into_iter().map(|(value, title, _)| view! {
                    <button type="button" class="menu-item" class:here=move || against.get().as_deref() == Some(value) on:click=move |_| pick(Some(value))>{format!("With {title}")}</button>
                }).collect_view()}
            </div>
        </Popover>
    }
}

/// What is not as it was, where the address compares.
pub fn panel(shared: Shared, before: Fetched<ServiceGraph>) -> Option<AnyView> {
    let app = use_app();
    let against = app.param("against").get()?;
    let window = earlier(app.window.get(), &against)?;
    let (from, to) = (instant::minute_text(window.start), instant::minute_text(window.end));
    let close = move || app.set(&[("against", None)]);
    Some(
        view! {
            <aside class="drawer" aria-label="Compared" on:keydown=move |event| if event.key() == "Escape" { close() }>
                <header class="drawer-head">
                    <h2>"What has changed"</h2>
                    <button type="button" class="button ghost square" aria-label="Compare with nothing" on:click=move |_| close()>{icon(Icon::Close)}</button>
                </header>
                <div class="drawer-body">
                    <p class="muted">{format!("Against {from} – {to} UTC")}</p>
                    {answer(before, move |before| {
                        if before.nodes.is_empty() {
                            return view! { <p class="muted">"No spans are stored of that window: everything is new."</p> }.into_any();
                        }
                        shared.differences.get().map(|found| list(&found)).into_any()
                    })}
                </div>
            </aside>
        }
        .into_any(),
    )
}

fn list(found: &[Difference]) -> impl IntoView + use<> {
    if found.is_empty() {
        return view! { <p>{icon(Icon::Check)}" Every edge is as it was: none new, none lost, no figure moved by much."</p> }.into_any();
    }
    let part = |kind: Kind, title: &'static str| {
        let of: Vec<&Difference> = found.iter().filter(|d| d.kind == kind).collect();
        (!of.is_empty()).then(|| {
            view! { <h3>{format!("{title} ({})", of.len())}</h3><ul class="differences">{of.into_iter().map(row).collect_view()}</ul> }
        })
    };
    view! { {part(Kind::New, "New edges")}{part(Kind::Lost, "Lost edges")}{part(Kind::Changed, "Changed edges")} }
        .into_any()
}

fn row(difference: &Difference) -> impl IntoView + use<> {
    let app = use_app();
    let edge = &difference.edge;
    let end = |node: &str| match of_node(node) {
        Some(service) => service_text(service).into_any(),
        None => node.split_once(':').map_or(node, |(_, name)| name).to_owned().into_any(),
    };
    let ends = view! { {end(&edge.source)}{icon(Icon::Right)}{end(&edge.target)} };
    let hit = Hit::Edge(edge.id.clone());
    // What is lost has no spans to be looked at any more.
    let name = if difference.kind == Kind::Lost {
        view! { <span class="row">{ends}</span> }.into_any()
    } else {
        view! { <button type="button" class="link row" on:click=move |_| choose(app, Some(&hit))>{ends}</button> }
            .into_any()
    };
    let moved = difference.moved.iter().map(|m| {
        let worse = matches!(m, Moved::Errors(..)) && m.is_worse();
        view! { <span class:error-text=worse>{m.words()}</span> }
    });
    view! { <li>{name}<span class="moved muted">{moved.collect_view()}</span></li> }
}
