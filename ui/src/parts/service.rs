//! A service's name with its colour.

use leptos::prelude::*;

use crate::address;
use crate::colour;
use crate::context::use_app;

/// The colour's swatch; the name beside it is the text.
pub fn swatch(service: &str) -> impl IntoView + use<> {
    view! { <span class="swatch" style:background=colour::of_service(service) aria-hidden="true"></span> }
}

/// Swatch and name, not a link.
pub fn service_name(service: &str) -> impl IntoView + use<> {
    let name = service.to_owned();
    view! { <span class="service" title=name.clone()>{swatch(service)}<span class="clip">{name.clone()}</span></span> }
}

/// Swatch and name, leading to the service's page.
pub fn service_link(service: &str) -> impl IntoView + use<> {
    let app = use_app();
    let name = service.to_owned();
    let path = service_path(service);
    view! {
        <a class="service" title=name.clone() href=move || app.link(&path, &[])>
            {swatch(service)}<span class="clip">{name.clone()}</span>
        </a>
    }
}

pub fn service_path(service: &str) -> String {
    format!("/services/{}", address::encode(service))
}
