//! The states of the window as lanes, one an alert, with every change as a row below: the lanes' twin.

use std::sync::Arc;

use leptos::prelude::*;
use orrery_api::{AlertHistory, AlertState, Transition};

use super::list::value;
use super::{Data, moment};
use crate::address::Query;
use crate::alerting::{self, Lane, lanes};
use crate::context::{Context, now, use_app};
use crate::fetch::{Fetched, fetch};
use crate::format;
use crate::instant;
use crate::parts::alert::{chips, state};
use crate::parts::receipt::receipt;
use crate::parts::size::use_size;
use crate::parts::state::answer;
use crate::range::Window;

/// Changes that are asked for; a window with more says so.
const MOST_CHANGES: usize = 5_000;
/// Rows of the changes that are shown before all are asked for.
const FEW: usize = 20;
/// The least width between two ticks.
const TICK: f64 = 90.0;

/// The history of the window.
#[derive(Clone, Copy)]
pub struct Past {
    pub answer: Fetched<AlertHistory>,
    /// What it was asked for: a relative range settles anew with every request.
    window: RwSignal<Window>,
    data: Data,
}

/// Asks for the history when the page opens, when the window is refreshed and when an alert has changed.
pub fn fetch_history(app: Context, data: Data) -> Past {
    let window = RwSignal::new(app.window.get_untracked());
    let changed = Memo::new(move |_| {
        data.with(|d| d.alerts.iter().map(|a| (a.fingerprint.clone(), a.state)).collect::<Vec<_>>())
    });
    let answer = fetch::<AlertHistory>(move || {
        app.window.track();
        changed.track();
        let settled = app.range.get().at(now());
        window.set(settled);
        let query = Query::default()
            .with("start", Some(&settled.start.to_string()))
            .with("end", Some(&settled.end.to_string()))
            .with("limit", Some(&MOST_CHANGES.to_string()));
        Some(query.href("/api/v1/alerts/history"))
    });
    Past { answer, window, data }
}

#[component]
pub fn History(past: Past) -> impl IntoView {
    view! {
        <section class="panel alert-history" aria-label="History">
            <h2>"History"<span class="legend">
                <span><span class="stretch-key firing"></span>"firing"</span><span><span class="stretch-key pending"></span>"pending"</span>
            </span></h2>
            {answer(past.answer, move |answer| {
                let window = past.window.get_untracked();
                let found = past.data.with_untracked(|d| lanes(window, now(), &d.alerts, &answer.transitions));
                let cut = answer.transitions.len() >= MOST_CHANGES;
                if found.is_empty() {
                    return view! { <p class="faint pad">"No alert was pending or fired in this window."</p> {receipt(&answer.receipt)} }.into_any();
                }
                view! {
                    {cut.then(|| view! { <p class="muted">{format!("The newest {} changes; before them the lanes say nothing.", format::grouped(MOST_CHANGES as i64))}</p> })}
                    <Lanes found window/>
                    <Changes list=Arc::new(answer.transitions.clone())/>
                    {receipt(&answer.receipt)}
                }.into_any()
            })}
        </section>
    }
}

#[component]
fn Lanes(found: Vec<Lane>, window: Window) -> impl IntoView {
    let app = use_app();
    let find = app.param("find");
    let axis = NodeRef::<leptos::html::Div>::new();
    let size = use_size(axis);
    let percent = move |at: i64| (at - window.start) as f64 / window.length() as f64 * 100.0;
    let ticks = move || {
        let (times, step) = instant::ticks(window.start, window.end, ((size.get().0 / TICK) as usize).max(1));
        // A label near the end would reach over the edge.
        let inside = times.into_iter().filter(|at| (100.0 - percent(*at)) / 100.0 * size.get().0 > 44.0);
        inside.map(|at| view! { <span class="tick" style:left=format!("{:.3}%", percent(at))>{instant::tick_label(at, step)}</span> }).collect_view()
    };
    let wanted = move |lane: &Lane| {
        let text = find.get().unwrap_or_default().trim().to_lowercase();
        lane.alert.to_lowercase().contains(&text) || lane.labels.values().any(|v| v.to_lowercase().contains(&text))
    };
    view! {
        <div class="lanes">
            <div class="lane axis"><span class="lane-name"></span><div class="lane-track" node_ref=axis aria-hidden="true">{ticks}</div></div>
            {move || found.iter().filter(|l| wanted(l)).map(|l| lane(l, window)).collect_view()}
        </div>
    }
}

fn lane(lane: &Lane, window: Window) -> impl IntoView + use<> {
    let app = use_app();
    let chosen = app.param("alert");
    let (fingerprint, target) = (lane.fingerprint.clone(), lane.fingerprint.clone());
    let here = move || chosen.get().as_deref() == Some(fingerprint.as_str());
    let mild = alerting::is_mild(&lane.labels);
    let labels: Vec<String> = alerting::own_labels(&lane.labels).map(|(k, v)| format!("{k}={v}")).collect();
    let stretches = lane.stretches.iter().map(|(from, to, is)| {
        let left = (from - window.start) as f64 / window.length() as f64 * 100.0;
        let width = (to - from) as f64 / window.length() as f64 * 100.0;
        let (class, word) = match is {
            AlertState::Firing if mild => ("firing mild", "firing"),
            AlertState::Firing => ("firing", "firing"),
            _ => ("pending", "pending"),
        };
        let title = format!("{word} for {}, from {}", format::duration(to - from), instant::short(*from));
        view! { <span class=format!("stretch {class}") title=title style:left=format!("{left:.3}%") style:width=format!("{width:.3}%")></span> }
    });
    view! {
        <div class="lane" class:chosen=here>
            <button type="button" class="lane-name link" title=format!("{} {}", lane.alert, labels.join(" ")) on:click=move |_| app.replace(&[("alert", Some(&target)), ("rule", None)])>
                <span class="clip">{lane.alert.clone()}</span><span class="clip faint">{labels.join(" ")}</span>
            </button>
            <div class="lane-track">{stretches.collect_view()}</div>
        </div>
    }
}

#[component]
fn Changes(list: Arc<Vec<Transition>>) -> impl IntoView {
    let total = list.len();
    let all = RwSignal::new(total <= FEW);
    view! {
        <h3>"Changes"</h3>
        <div class="table-wrap">{move || changes(&list, if all.get() { total } else { FEW }, true)}</div>
        <Show when=move || !all.get()><button type="button" class="button small" on:click=move |_| all.set(true)>{format!("All {} changes", format::grouped(total as i64))}</button></Show>
    }
}

/// Changes as rows, newest first.
pub fn changes(list: &[Transition], most: usize, named: bool) -> impl IntoView + use<> {
    view! {
        <table class="grid small">
            <thead><tr>
                <th scope="col">"Time"</th>{named.then(|| view! { <th scope="col">"Alert"</th> })}<th scope="col">"From"</th><th scope="col">"To"</th><th scope="col" class="figure">"Value"</th>
                {named.then(|| view! { <th scope="col" class="quiet-cell">"Labels"</th> })}
            </tr></thead>
            <tbody>{list.iter().take(most).map(|t| {
                let mild = alerting::is_mild(&t.labels);
                view! {
                    <tr>
                        <td class="muted">{moment(&t.timestamp)}</td>
                        {named.then(|| view! { <td>{t.alert.clone()}</td> })}
                        <td class="muted">{format!("{:?}", t.from).to_lowercase()}</td>
                        <td>{state(t.to, mild)}</td>
                        <td class="figure" title=t.value.map(|v| v.to_string())>{value(t.value)}</td>
                        {named.then(|| view! { <td class="quiet-cell labels-cell">{chips(&t.labels)}</td> })}
                    </tr>
                }
            }).collect_view()}</tbody>
        </table>
    }
}
