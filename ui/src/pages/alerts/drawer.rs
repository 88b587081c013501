//! The chosen alert, or the chosen rule: everything that is known of it. It is built once and kept up to date, so that
//! whoever reads it keeps their place.

use leptos::prelude::*;
use orrery_api::{Alert, Labels, Rule, RuleGroup, Transition};

use super::history::{Past, changes};
use super::list::{current, lasting, since, value};
use super::rules::{health, took};
use super::{Data, length, moment, rule_at, rule_key};
use crate::alerting::{self, evaluated};
use crate::context::{now, use_app};
use crate::format;
use crate::instant;
use crate::parts::alert::state;
use crate::parts::clock::ago;
use crate::parts::copy::Copy;
use crate::parts::icon::{Icon, icon};
use crate::parts::service::service_link;
use crate::range::TimeRange;

/// Changes of one alert that are listed.
const MOST: usize = 50;

/// What the address chooses.
#[derive(Clone, PartialEq)]
enum Choice {
    /// As it was when it was chosen.
    Alert(Box<Alert>),
    /// It ended long ago: its history is what is left of it.
    Past(String),
    Rule(String),
}

#[component]
pub fn Chosen(data: Data, past: Past) -> impl IntoView {
    let app = use_app();
    let (alert, rule) = (app.param("alert"), app.param("rule"));
    let choice = Memo::new(move |before: Option<&Option<Choice>>| match (alert.get(), rule.get()) {
        (Some(fingerprint), _) => match before {
            // The same alert, whatever has changed of it, is the same choice.
            Some(Some(Choice::Alert(same))) if same.fingerprint == fingerprint => Some(Choice::Alert(same.clone())),
            _ => {
                let found = data.with(|d| d.alerts.iter().find(|a| a.fingerprint == fingerprint).cloned());
                Some(found.map_or(Choice::Past(fingerprint), |a| Choice::Alert(Box::new(a))))
            }
        },
        (None, Some(key)) => Some(Choice::Rule(key)),
        (None, None) => None,
    });
    move || {
        choice.get().map(|choice| match choice {
            Choice::Alert(first) => view! { <OfAlert first=*first data past/> }.into_any(),
            Choice::Past(fingerprint) => view! { <OfPast fingerprint past/> }.into_any(),
            Choice::Rule(key) => view! { <OfRule key data/> }.into_any(),
        })
    }
}

#[component]
fn Drawer(title: String, children: Children) -> impl IntoView {
    let app = use_app();
    let close = move || app.replace(&[("alert", None), ("rule", None)]);
    view! {
        <aside class="drawer" aria-label="Details" on:keydown=move |event| if event.key() == "Escape" { close() }>
            <header class="drawer-head">
                <h2>{icon(Icon::Bell)}<span class="clip" title=title.clone()>{title.clone()}</span></h2>
                <button type="button" class="button ghost square" aria-label="Close" on:click=move |_| close()>{icon(Icon::Close)}</button>
            </header>
            <div class="drawer-body">{children()}</div>
        </aside>
    }
}

/// The changes of one alert in the window, newest first.
fn own_changes(past: Past, fingerprint: String) -> Memo<Vec<Transition>> {
    Memo::new(move |_| {
        let all = past.answer.data.get();
        let own = all.iter().flat_map(|h| &h.transitions).filter(|t| t.fingerprint == fingerprint);
        own.cloned().collect()
    })
}

fn change_list(own: Memo<Vec<Transition>>) -> impl IntoView {
    move || {
        own.with(|own| {
            if own.is_empty() {
                view! { <p class="faint">"None."</p> }.into_any()
            } else {
                changes(own, MOST, false).into_any()
            }
        })
    }
}

#[component]
fn OfAlert(first: Alert, data: Data, past: Past) -> impl IntoView {
    let app = use_app();
    let title = first.alert.clone();
    let own = own_changes(past, first.fingerprint.clone());
    let (file, group, name) = (first.file.clone(), first.group.clone(), first.alert.clone());
    let gone = format!("{} of {} is not among the rules that are in effect.", first.alert, first.file);
    let rule = Memo::new(move |_| rule_in(data, &format!("{file}/{group}/{name}")));
    let (service, of_it) = (first.service.clone(), first.labels.clone());
    let mild = alerting::is_mild(&of_it);
    let alert = current(data, first);
    let at = Memo::new(move |_| alert.with(|a| a.state));
    let said = Memo::new(move |_| alert.with(|a| a.annotations.clone()));
    let times = Memo::new(move |_| alert.with(times));
    let traces = Memo::new(move |_| alert.with(|a| a.trace_ids.clone()));
    view! {
        <Drawer title>
            <div class="tiles small">
                <div class="tile"><span>"State"</span><b>{move || state(at.get(), mild)}</b></div>
                <div class="tile"><span>"For"</span><b title=move || alert.with(|a| since(a).1)>{lasting(alert, data)}</b></div>
                <div class="tile"><span>"Value"</span><b title=move || alert.with(|a| a.value.map(|v| v.to_string()))>{move || alert.with(|a| value(a.value))}</b></div>
            </div>
            {move || said.with(annotations)}
            <dl class="facts">
                {service.as_deref().map(|s| view! { <div><dt>"Service"</dt><dd>{service_link(s)}</dd></div> })}
                {move || times.get().into_iter().map(|(name, time)| view! { <div><dt>{name}</dt><dd>{moment(&time)}</dd></div> }).collect_view()}
            </dl>
            {move || traces.with(|ids| (!ids.is_empty()).then(|| view! {
                <h3>"Traces"</h3>
                <p class="chips">{ids.iter().map(|id| {
                    let path = format!("/trace/{id}");
                    view! { <a class="button small mono" title=id.clone() href=move || app.link(&path, &[])>{format::short_id(id)}</a> }
                }).collect_view()}</p>
            }))}
            <h3>"Labels"</h3>
            {labels(&of_it)}
            <h3>"Changes in the window"</h3>
            {change_list(own)}
            <h3>"Rule"</h3>
            {move || match rule.get() {
                Some((group, rule)) => definition(group, rule, data).into_any(),
                // Its file was changed, or is refused; the alert ends with the next evaluation.
                None => view! { <p class="muted">{gone.clone()}</p> }.into_any(),
            }}
        </Drawer>
    }
}

fn times(alert: &Alert) -> Vec<(&'static str, String)> {
    let all = [
        ("Active since", Some(&alert.active_since)),
        ("Fired", alert.fired_at.as_ref()),
        ("Condition gone", alert.keep_firing_since.as_ref()),
        ("Resolved", alert.resolved_at.as_ref()),
    ];
    all.into_iter().filter_map(|(name, time)| Some((name, time?.clone()))).collect()
}

#[component]
fn OfPast(fingerprint: String, past: Past) -> impl IntoView {
    let own = own_changes(past, fingerprint);
    let newest = Memo::new(move |_| own.with(|own| own.first().map(|t| (t.alert.clone(), t.labels.clone()))));
    move || {
        let (name, of_it) = newest.get()?;
        Some(view! {
            <Drawer title=name>
                <p class="muted">"It ended; what is left of it is its history."</p>
                <h3>"Labels"</h3>
                {labels(&of_it)}
                <h3>"Changes in the window"</h3>
                {change_list(own)}
            </Drawer>
        })
    }
}

#[component]
fn OfRule(key: String, data: Data) -> impl IntoView {
    let rule = Memo::new(move |_| rule_in(data, &key));
    let name = Memo::new(move |_| rule.with(|r| r.as_ref().map(|(_, r)| r.alert.clone())));
    let body = move || {
        rule.get().map(|(group, rule)| {
            view! {
                <div class="tiles small">
                    <div class="tile"><span>"State"</span><b>{state(rule.state, alerting::is_mild(&rule.labels))}</b></div>
                    <div class="tile"><span>"Health"</span><b>{health(&rule)}</b></div>
                </div>
                {rule.error.clone().map(|error| view! { <p class="message error-text">{icon(Icon::Error)}<span class="wrap">{error}</span></p> })}
                {definition(group, rule.clone(), data)}
                <h3>"Labels"</h3>
                {labels(&rule.labels)}
                <h3>"Annotations"</h3>
                {labels(&rule.annotations)}
            }
        })
    };
    move || name.get().map(|title| view! { <Drawer title>{body}</Drawer> })
}

/// A rule and its group without the times of their evaluations, which change all the time.
fn rule_in(data: Data, key: &str) -> Option<(RuleGroup, Rule)> {
    data.with(|d| {
        let (group, rule) = rule_at(d, key)?;
        let group =
            RuleGroup { rules: Vec::new(), last_evaluation: None, evaluation_ms: None, missed: 0, ..group.clone() };
        Some((group, Rule { last_evaluation: None, evaluation_ms: None, ..rule.clone() }))
    })
}

/// Where a rule stands, how it is evaluated, and its SQL.
fn definition(group: RuleGroup, rule: Rule, data: Data) -> impl IntoView {
    let app = use_app();
    let file = format!("{}:{}", group.file, rule.line);
    let key = rule_key(&group, &rule);
    let evaluation = Memo::new(move |_| {
        data.with(|d| rule_at(d, &key).map(|(_, r)| (r.last_evaluation.clone(), r.evaluation_ms))).unwrap_or_default()
    });
    let facts = [
        ("Group", Some(group.name.clone())),
        ("Every", Some(length(group.interval_ms))),
        ("Window", Some(length(rule.window_ms))),
        ("For", (rule.for_ms > 0).then(|| length(rule.for_ms))),
        ("Keeps firing", (rule.keep_firing_for_ms > 0).then(|| length(rule.keep_firing_for_ms))),
    ];
    let last = move || {
        data.track();
        evaluation.with(|(at, ms)| {
            let took = ms.map(|ms| format!(", took {}", took(ms))).unwrap_or_default();
            at.as_deref().map_or_else(|| "not yet".to_owned(), |t| format!("{} ago{took}", ago(t)))
        })
    };
    let sql = rule.sql.clone();
    let open = move || {
        let end = evaluation.with(|(at, _)| at.as_deref().and_then(instant::parse)).unwrap_or_else(now);
        let window = evaluated(&rule, end);
        let (start, end) = TimeRange::Between(window.start, window.end).to_params();
        app.link("/sql", &[("q", &rule.sql), ("start", &start), ("end", &end.unwrap_or_default())])
    };
    view! {
        <dl class="facts">
            <div><dt>"File"</dt><dd class="mono">{file.clone()}<Copy text=file what="place"/></dd></div>
            {facts.into_iter().filter_map(|(name, text)| Some((name, text?))).map(|(name, text)| view! { <div><dt>{name}</dt><dd>{text}</dd></div> }).collect_view()}
            <div><dt>"Evaluated"</dt><dd>{last}</dd></div>
        </dl>
        <div class="snippet"><pre class="mono" tabindex="0" aria-label="The rule's SQL">{sql.clone()}</pre><Copy text=sql what="SQL"/></div>
        <p><a class="button small" href=open>{icon(Icon::Sql)}"Run it for its last evaluation"</a></p>
    }
}

fn labels(labels: &Labels) -> impl IntoView + use<> {
    if labels.is_empty() {
        return view! { <p class="faint">"None."</p> }.into_any();
    }
    let row = |(key, value): (&String, &String)| {
        view! { <tr><th scope="row"><code>{key.clone()}</code></th><td class="value">{value.clone()}</td></tr> }
    };
    view! { <table class="attributes"><tbody>{labels.iter().map(row).collect_view()}</tbody></table> }.into_any()
}

/// What the rule says to people: the summary first; an address of a web page is a link.
fn annotations(annotations: &Labels) -> impl IntoView + use<> {
    let summary = annotations.get("summary").cloned();
    let rest = annotations.iter().filter(|(key, _)| key.as_str() != "summary").map(|(key, value)| {
        let address = ["https://", "http://"].iter().any(|scheme| value.starts_with(scheme));
        let shown = if address {
            view! { <a class="trace-link" href=value.clone() target="_blank" rel="noopener noreferrer">{value.clone()}</a> }.into_any()
        } else {
            value.clone().into_any()
        };
        view! { <p class="annotation"><span class="muted">{format!("{key}: ")}</span>{shown}</p> }
    });
    view! {
        {summary.map(|text| view! { <p class="annotation"><b>{text}</b></p> })}
        {rest.collect_view()}
    }
}
