//! A service's name with its colour: the one way in which every list, row and heading shows it.

use leptos::prelude::*;

use crate::address;
use crate::colour;
use crate::context::use_app;

/// The colour's swatch; the name beside it is the text.
pub fn swatch(service: &str) -> impl IntoView + use<> {
    view! { <span class="swatch" style:background=colour::of_service(service) aria-hidden="true"></span> }
}

/// The id as text: `name`, or `namespace/name` where a namespace was sent. The namespace is paler and gives way first
/// where room is short.
pub fn service_text(service: &str) -> impl IntoView + use<> {
    let (namespace, name) = match service.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            (Some(format!("{namespace}/")), name.to_owned())
        }
        _ => (None, service.to_owned()),
    };
    view! {
        <span class="service-text">
            {namespace.map(|namespace| view! { <span class="namespace">{namespace}</span> })}
            <span class="clip">{name}</span>
        </span>
    }
}

/// Swatch and name, not a link.
pub fn service_name(service: &str) -> impl IntoView + use<> {
    view! { <span class="service" title=service.to_owned()>{swatch(service)}{service_text(service)}</span> }
}

/// Swatch and name, leading to the service's page.
pub fn service_link(service: &str) -> impl IntoView + use<> {
    let app = use_app();
    let path = service_path(service);
    view! {
        <a class="service" title=service.to_owned() aria-label=service.to_owned() href=move || app.link(&path, &[])>
            {swatch(service)}{service_text(service)}
        </a>
    }
}

pub fn service_path(service: &str) -> String {
    format!("/services/{}", address::encode(service))
}

/// The id of a service as a node of the map has it.
pub fn of_node(node: &str) -> Option<&str> {
    node.strip_prefix("service:")
}
