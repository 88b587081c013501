//! What is shown of alerts in more than one place: a state, the badge of a service, labels.

use leptos::prelude::*;
use orrery_api::{AlertState, Labels};

use super::icon::{Icon, icon};
use crate::alerting;
use crate::alerts::use_alerts;
use crate::context::use_app;

/// A state as icon and word; each has an icon of its own, so that no colour is needed to tell them apart.
pub fn state(state: AlertState, mild: bool) -> impl IntoView {
    let (class, which, word) = match state {
        AlertState::Firing if mild => ("warn", Icon::Bell, "firing"),
        AlertState::Firing => ("error", Icon::Bell, "firing"),
        AlertState::Pending => ("warn", Icon::Clock, "pending"),
        AlertState::Resolved => ("ok", Icon::Check, "resolved"),
        AlertState::Inactive => ("ok", Icon::Check, "inactive"),
    };
    view! { <span class=format!("alert-state {class}")>{icon(which)}{word}</span> }
}

/// `2 firing`, leading to them; nothing where nothing fires for the service.
pub fn service_badge(service: &str) -> impl IntoView + use<> {
    let (app, alerts) = (use_app(), use_alerts());
    let service = service.to_owned();
    let found = {
        let service = service.clone();
        Memo::new(move |_| alerts.firing(&service))
    };
    move || {
        let (service, (count, urgent)) = (service.clone(), found.get()?);
        let name = format!("{count} firing for {service}");
        // Some of them may not say the namespace.
        let find = service.split_once('/').map_or(service.as_str(), |(_, name)| name).to_owned();
        Some(view! {
            <a class="badge firing" class:error=urgent class:warn=!urgent title=name.clone() aria-label=name href=move || app.link("/alerts", &[("find", &find)])>
                {icon(Icon::Bell)}{format!("{count} firing")}
            </a>
        })
    }
}

/// Labels as chips, the name of the alert left out.
pub fn chips(labels: &Labels) -> impl IntoView + use<> {
    let chip = |(key, value): (&String, &String)| {
        view! { <span class="chip" title=format!("{key}={value}")><span class="faint">{format!("{key}=")}</span>{value.clone()}</span> }
    };
    view! { <span class="chip-row">{alerting::own_labels(labels).map(chip).collect_view()}</span> }
}
