//! `/alerts`: what fires, what is about to and what has ended, with each alert's history; the rules and the files that
//! they come from; who is told. Read-only: rules live in files beside the configuration.

mod drawer;
mod first;
mod history;
mod list;
mod notifiers;
mod rules;

use std::sync::Arc;

use leptos::prelude::*;
use orrery_api::{Alert, AlertState, Alerts as Answer, NotifierStatus, Rule, RuleFile, RuleGroup, RuleHealth};

use crate::alerting;
use crate::alerts::{Watch, use_alerts};
use crate::context::{Context, use_app};
use crate::fetch::Failure;
use crate::format;
use crate::instant;
use crate::parts::clock::ago;
use crate::parts::icon::{Icon, icon};
use crate::parts::state::{failed, skeleton};

/// The last answer.
pub type Data = Signal<Arc<Answer>>;

/// What stands on the page. It changes with the first answer and with failures, not with every answer: a page that is
/// being read stays put while what it says is kept up to date.
#[derive(Clone, PartialEq)]
enum Standing {
    Loading,
    Failed(Failure),
    Empty,
    Whole,
}

#[component]
pub fn Alerts() -> impl IntoView {
    let app = use_app();
    let watch = use_alerts();
    // The watch may have asked a while ago, on another page.
    if !watch.alerts.loading.get_untracked() {
        watch.alerts.retry();
    }
    let find = app.param("find");
    let standing = Memo::new(move |_| match (watch.alerts.failure.get(), watch.alerts.data.get()) {
        (Some(failure), _) => Standing::Failed(failure),
        (None, None) => Standing::Loading,
        (None, Some(data)) if data.groups.is_empty() && data.files.is_empty() => Standing::Empty,
        (None, Some(_)) => Standing::Whole,
    });
    let data = Data::derive(move || watch.alerts.data.get().unwrap_or_default());
    view! {
        <header class="page-head row">
            <h1>"Alerts"</h1>
            {counts(watch)}
            <span class="grow"></span>
            <input class="search" type="search" aria-label="Find an alert" placeholder="Find" prop:value=move || find.get().unwrap_or_default()
                on:input=move |event| app.replace(&[("find", Some(&event_target_value(&event)))])/>
        </header>
        {move || match standing.get() {
            Standing::Loading => skeleton().into_any(),
            Standing::Failed(failure) => failed(failure, move || watch.alerts.retry()).into_any(),
            Standing::Empty => view! { <first::First data/> }.into_any(),
            Standing::Whole => view! { <Body data/> }.into_any(),
        }}
    }
}

/// How many there are of each state.
fn counts(watch: Watch) -> impl IntoView {
    let of = move |state: AlertState, word: &'static str, class: &'static str| {
        move || {
            let count = watch.count(state);
            (count > 0).then(|| view! { <span class=format!("badge {class}")>{format!("{count} {word}")}</span> })
        }
    };
    view! {
        {of(AlertState::Firing, "firing", "error")}
        {of(AlertState::Pending, "pending", "warn")}
        {of(AlertState::Resolved, "resolved", "")}
    }
}

#[component]
fn Body(data: Data) -> impl IntoView {
    let app = use_app();
    let tab = app.param("tab");
    let at = Memo::new(move |_| tab.get().unwrap_or_else(|| "alerts".to_owned()));
    let rules = move |data: &Answer| data.groups.iter().map(|g| g.rules.len()).sum::<usize>();
    let tabs: [(&str, Memo<String>, Memo<bool>); 3] = [
        ("alerts", Memo::new(|_| "Alerts".to_owned()), Memo::new(|_| false)),
        (
            "rules",
            Memo::new(move |_| data.with(|d| format!("Rules {}", rules(d)))),
            Memo::new(move |_| data.with(|d| is_refused(d))),
        ),
        (
            "notifiers",
            Memo::new(move |_| data.with(|d| format!("Notifiers {}", d.notifiers.len()))),
            Memo::new(move |_| data.with(|d| d.notifiers.iter().any(|n| n.failing_since.is_some()))),
        ),
    ];
    let past = history::fetch_history(app, data);
    view! {
        {move || data.with(|d| problems(d))}
        <div class="alerts-page">
            <div class="alerts-main">
                <div class="tab-row">
                    <div class="tabs" role="tablist" aria-label="Parts of alerting">
                        {tabs.into_iter().map(|(value, title, wrong)| view! {
                            <button type="button" role="tab" class="tab" aria-selected=move || at.with(|at| at == value).to_string()
                                on:click=move |_| app.replace(&[("tab", (value != "alerts").then_some(value))])>
                                {move || wrong.get().then(|| view! { <span class="error-text" title="Something is wrong there">{icon(Icon::Error)}</span> })}
                                {move || title.get()}
                            </button>
                        }).collect_view()}
                    </div>
                </div>
                {move || match at.get().as_str() {
                    "rules" => view! { <rules::Rules data/> }.into_any(),
                    "notifiers" => view! { <notifiers::Notifiers data/> }.into_any(),
                    _ => view! { <list::List data/> <history::History past/> }.into_any(),
                }}
            </div>
            <drawer::Chosen data past/>
        </div>
    }
}

/// Whether a rule or a file is not in effect.
fn is_refused(data: &Answer) -> bool {
    data.files.iter().any(|f| f.error.is_some())
        || data.groups.iter().flat_map(|g| &g.rules).any(|r| r.health == RuleHealth::Error)
}

/// What keeps alerting from working, above everything else.
fn problems(data: &Answer) -> impl IntoView + use<> {
    let files = data.files.iter().filter(|f| f.error.is_some()).map(file_problem).collect_view();
    let notifiers = data.notifiers.iter().filter(|n| n.failing_since.is_some()).map(notifier_problem).collect_view();
    let rules = data.groups.iter().flat_map(|g| g.rules.iter().map(move |r| (g, r)));
    let rules = rules.filter(|(_, r)| r.health == RuleHealth::Error).map(|(g, r)| rule_problem(g, r)).collect_view();
    view! { <div class="problems">{files}{notifiers}{rules}</div> }
}

fn problem(title: String, message: String) -> impl IntoView {
    view! {
        <div class="problem"><span class="error-text">{icon(Icon::Error)}</span><b>{title}</b><code>{message}</code></div>
    }
}

fn file_problem(file: &RuleFile) -> impl IntoView + use<> {
    let message = file.error.as_ref().map(|e| e.message.clone()).unwrap_or_default();
    problem(format!("{} is not in effect", place(file)), message)
}

/// `file:line:column`, as editors open it; the file alone where all of it is meant.
fn place(file: &RuleFile) -> String {
    match &file.error {
        Some(error) if error.line > 0 => format!("{}:{}:{}", file.path, error.line, error.column),
        _ => file.path.clone(),
    }
}

fn notifier_problem(notifier: &NotifierStatus) -> impl IntoView + use<> {
    let since = notifier.failing_since.as_deref().map(|t| format!(" for {}", ago(t))).unwrap_or_default();
    let title = format!("{} ({}) has failed{since}; {} wait to be sent", notifier.name, notifier.kind, notifier.queued);
    problem(title, notifier.last_error.clone().unwrap_or_default())
}

fn rule_problem(group: &RuleGroup, rule: &Rule) -> impl IntoView + use<> {
    let title = format!("{} ({}:{}) could not be evaluated", rule.alert, group.file, rule.line);
    problem(title, rule.error.clone().unwrap_or_default())
}

/// A rule in the address.
pub fn rule_key(group: &RuleGroup, rule: &Rule) -> String {
    format!("{}/{}/{}", group.file, group.name, rule.alert)
}

/// The rule of a key, and its group.
pub fn rule_at<'a>(data: &'a Answer, key: &str) -> Option<(&'a RuleGroup, &'a Rule)> {
    let mut all = data.groups.iter().flat_map(|g| g.rules.iter().map(move |r| (g, r)));
    all.find(|(g, r)| rule_key(g, r) == key)
}

/// A time as it is shown: short, the exact one in the title.
pub fn moment(time: &str) -> impl IntoView + use<> {
    let short = instant::parse(time).map_or_else(|| time.to_owned(), instant::short);
    view! { <span class="nowrap" title=time.to_owned()>{short}</span> }
}

/// A setting in milliseconds as a length of time.
pub fn length(ms: u64) -> String {
    format::duration((ms as i64).saturating_mul(instant::MILLISECOND))
}

/// The alerts that the search and the top bar leave, and how many of those that are found belong to another environment
/// or namespace.
pub fn shown(app: Context, data: &Answer, find: &str) -> (Vec<Alert>, usize) {
    let (environment, namespace) = (app.environment.get(), app.namespace.get());
    let (elsewhere, here): (Vec<&Alert>, Vec<&Alert>) = data
        .alerts
        .iter()
        .filter(|a| alerting::matches(a, find))
        .partition(|a| alerting::is_elsewhere(a, environment.as_deref(), namespace.as_deref()));
    (here.into_iter().cloned().collect(), elsewhere.len())
}
