//! The alerts of this moment: firing ones first, then pending, then those that ended a short while ago.

use leptos::prelude::*;
use orrery_api::{Alert, AlertState, Alerts as Answer};

use super::{Data, shown};
use crate::alerting;
use crate::context::use_app;
use crate::format;
use crate::parts::alert::{chips, state};
use crate::parts::clock::ago;
use crate::parts::icon::{Icon, icon};
use crate::parts::service::service_link;

#[component]
pub fn List(data: Data) -> impl IntoView {
    let app = use_app();
    let find = app.param("find");
    let found = Memo::new(move |_| data.with(|d| shown(app, d, &find.get().unwrap_or_default())));
    let list = Memo::new(move |_| found.with(|(alerts, _)| alerts.clone()));
    let any = Memo::new(move |_| list.with(|l| !l.is_empty()));
    let elsewhere = Memo::new(move |_| found.with(|(_, elsewhere)| *elsewhere));
    view! {
        {move || if any.get() {
            view! {
                <div class="table-wrap alert-list">
                    <table class="grid alerts">
                        <thead><tr>
                            <th scope="col">"State"</th><th scope="col">"Alert"</th><th scope="col" class="figure">"Value"</th><th scope="col">"For"</th>
                            <th scope="col" class="quiet-cell">"Service"</th><th scope="col" class="quiet-cell">"Labels"</th><th scope="col" class="figure quiet-cell">"Traces"</th>
                        </tr></thead>
                        <tbody>
                            <For each=move || list.get() key=|a| a.fingerprint.clone() children=move |a| view! { <Row first=a data/> }/>
                        </tbody>
                    </table>
                </div>
            }.into_any()
        } else {
            view! { {move || data.with(|d| quiet(d, find.with(Option::is_some)))} }.into_any()
        }}
        {move || (elsewhere.get() > 0).then(|| view! {
            <p class="muted pad">{format!("{} more say that they are of another environment or namespace.", elsewhere.get())}</p>
        })}
    }
}

/// Nothing is wrong, or nothing is found.
fn quiet(data: &Answer, searched: bool) -> impl IntoView + use<> {
    let rules: usize = data.groups.iter().map(|g| g.rules.len()).sum();
    let last = data.groups.iter().filter_map(|g| g.last_evaluation.as_deref()).max().map(ago);
    let (title, text) = if searched {
        ("No alert matches", "Clear the search to see all of them.".to_owned())
    } else {
        let last = last.map_or_else(
            || "They have not been evaluated yet.".to_owned(),
            |ago| format!("The last evaluation was for {ago} ago."),
        );
        ("Nothing fires", format!("{rules} {}. {last}", if rules == 1 { "rule watches" } else { "rules watch" }))
    };
    view! { <div class="state compact"><span class="state-icon">{icon(Icon::Check)}</span><h2>{title}</h2><p>{text}</p></div> }
}

/// The alert of a fingerprint as the last answer has it, or as it was when it was last there.
pub fn current(data: Data, first: Alert) -> Memo<Alert> {
    Memo::new(move |before: Option<&Alert>| {
        let found = data.with(|d| d.alerts.iter().find(|a| a.fingerprint == first.fingerprint).cloned());
        found.or_else(|| before.cloned()).unwrap_or_else(|| first.clone())
    })
}

/// What a rule says of its alert in one line; more than the name hints at.
fn summary(alert: &Alert) -> Option<String> {
    alert.annotations.get("summary").or_else(|| alert.annotations.get("description")).cloned()
}

#[component]
fn Row(first: Alert, data: Data) -> impl IntoView {
    let app = use_app();
    let chosen = app.param("alert");
    // These are the same for as long as the fingerprint is: it is made from them.
    let (name, service, labels) = (first.alert.clone(), first.service.clone(), first.labels.clone());
    let mild = alerting::is_mild(&labels);
    let (fingerprint, target) = (first.fingerprint.clone(), first.fingerprint.clone());
    let here = move || chosen.get().as_deref() == Some(fingerprint.as_str());
    let choose = move |_| app.replace(&[("alert", Some(&target)), ("rule", None)]);
    let alert = current(data, first);
    let at = Memo::new(move |_| alert.with(|a| a.state));
    let text = Memo::new(move |_| alert.with(summary));
    let held = Memo::new(move |_| alert.with(|a| a.keep_firing_since.is_some()));
    let traces = Memo::new(move |_| alert.with(|a| (a.trace_ids.first().cloned(), a.trace_ids.len())));
    view! {
        <tr class:chosen=here>
            <td>{move || state(at.get(), mild)}</td>
            <th scope="row">
                <button type="button" class="link alert-name" on:click=choose>
                    <b class="clip">{name}</b>
                    {move || text.get().map(|text| view! { <span class="clip muted" title=text.clone()>{text.clone()}</span> })}
                </button>
            </th>
            <td class="figure" title=move || alert.with(|a| a.value.map(|v| v.to_string()))>{move || alert.with(|a| value(a.value))}</td>
            <td class="nowrap" title=move || alert.with(|a| since(a).1)>
                {lasting(alert, data)}
                {move || held.get().then(|| view! { " "<span class="badge" title="The condition is gone; the rule keeps it firing for a while">"held"</span> })}
            </td>
            <td class="quiet-cell wide-cell">{service.as_deref().map(service_link)}</td>
            <td class="quiet-cell labels-cell">{chips(&labels)}</td>
            <td class="figure quiet-cell">{move || match traces.get() {
                (Some(id), count) => {
                    let path = format!("/trace/{id}");
                    view! { <a class="trace-link" title="Open the worst of them" href=move || app.link(&path, &[])>{count}</a> }.into_any()
                }
                (None, _) => view! { <span class="faint">"0"</span> }.into_any(),
            }}</td>
        </tr>
    }
}

pub fn value(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), format::number)
}

/// For how long it has been so; said anew with every answer.
pub fn lasting(alert: Memo<Alert>, data: Data) -> impl Fn() -> String {
    move || {
        data.track();
        alert.with(|a| since(a).0)
    }
}

/// For how long it has been so, and since when.
pub fn since(alert: &Alert) -> (String, String) {
    let (word, time) = match alert.state {
        AlertState::Firing => ("firing since", alert.fired_at.as_ref().unwrap_or(&alert.active_since)),
        AlertState::Resolved => ("resolved at", alert.resolved_at.as_ref().unwrap_or(&alert.active_since)),
        AlertState::Pending | AlertState::Inactive => ("pending since", &alert.active_since),
    };
    let length = ago(time);
    let text = if alert.state == AlertState::Resolved { format!("{length} ago") } else { length };
    (text, format!("{word} {time}"))
}
