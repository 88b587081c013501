//! The rules by group, with how their last evaluation went, and the files that they come from.

use leptos::prelude::*;
use orrery_api::{Alerts as Answer, Rule, RuleFile, RuleGroup, RuleHealth};

use super::{Data, length, place, rule_at, rule_key};
use crate::alerting;
use crate::context::use_app;
use crate::format;
use crate::instant;
use crate::parts::alert::state;
use crate::parts::clock::ago;
use crate::parts::icon::{Icon, icon};

/// A group of the page: its file and name, and the keys of those of its rules that are found.
type Found = (String, String, Vec<String>);

#[component]
pub fn Rules(data: Data) -> impl IntoView {
    let app = use_app();
    let find = app.param("find");
    let found = Memo::new(move |_| data.with(|d| search(d, &find.get().unwrap_or_default())));
    let files = Memo::new(move |_| data.with(|d| d.files.clone()));
    let empty = Memo::new(move |_| data.with(|d| d.groups.is_empty()));
    view! {
        {move || found.with(Vec::is_empty).then(|| view! {
            <p class="faint pad">{if empty.get() { "No file holds a rule that is in effect." } else { "No rule has that in its name, group, file or labels." }}</p>
        })}
        <For each=move || found.get() key=|found| found.clone() children=move |found| view! { <Group found data/> }/>
        <section class="panel rule-group"><h2>"Files"</h2>
            <table class="grid">
                <thead><tr><th scope="col">"File"</th><th scope="col">"State"</th></tr></thead>
                <tbody>{move || files.get().iter().map(file_row).collect_view()}</tbody>
            </table>
        </section>
    }
}

fn search(data: &Answer, text: &str) -> Vec<Found> {
    let wanted = text.trim().to_lowercase();
    let has = |s: &str| s.to_lowercase().contains(&wanted);
    let kept =
        |g: &RuleGroup, r: &Rule| has(&r.alert) || has(&g.name) || has(&g.file) || r.labels.values().any(|v| has(v));
    let keys = |g: &RuleGroup| g.rules.iter().filter(|r| kept(g, r)).map(|r| rule_key(g, r)).collect::<Vec<_>>();
    let groups = data.groups.iter().map(|g| (g.file.clone(), g.name.clone(), keys(g)));
    groups.filter(|(_, _, keys)| !keys.is_empty()).collect()
}

#[component]
fn Group(found: Found, data: Data) -> impl IntoView {
    let (file, name, keys) = found;
    let (of_file, of_name) = (file.clone(), name.clone());
    let facts = move || {
        data.with(|d| {
            let group = d.groups.iter().find(|g| g.file == of_file && g.name == of_name)?;
            Some(group_facts(group).into_any())
        })
    };
    view! {
        <section class="panel rule-group">
            <h2>{name}<span class="muted mono">{file}</span></h2>
            <p class="muted">{facts}</p>
            <div class="table-wrap">
                <table class="grid rules">
                    <thead><tr>
                        <th scope="col">"Rule"</th><th scope="col">"State"</th><th scope="col">"Health"</th><th scope="col" class="figure quiet-cell">"Window"</th><th scope="col" class="figure quiet-cell">"For"</th>
                        <th scope="col" class="figure quiet-cell">"Evaluated"</th><th scope="col" class="figure quiet-cell">"Took"</th>
                    </tr></thead>
                    <tbody>{keys.into_iter().map(|key| view! { <Row key data/> }).collect_view()}</tbody>
                </table>
            </div>
        </section>
    }
}

fn group_facts(group: &RuleGroup) -> impl IntoView + use<> {
    let facts = [
        Some(format!("every {}", length(group.interval_ms))),
        (group.query_offset_ms > 0).then(|| format!("{} behind the clock", length(group.query_offset_ms))),
        (group.limit > 0).then(|| format!("at most {} alerts a rule", group.limit)),
        group.last_evaluation.as_deref().map(|t| format!("last evaluated {} ago", ago(t))),
        group.evaluation_ms.map(|ms| format!("took {}", took(ms))),
    ];
    let missed = group.missed;
    view! {
        {facts.into_iter().flatten().collect::<Vec<_>>().join(" · ")}
        {(missed > 0).then(|| view! {
            <span class="badge warn" title="Evaluations that were left out since the start: the one before took too long, or the machine slept">
                {icon(Icon::Warning)}{format!("{} missed", format::count(missed))}
            </span>
        })}
    }
}

#[component]
fn Row(key: String, data: Data) -> impl IntoView {
    let app = use_app();
    let chosen = app.param("rule");
    let (mine, target) = (key.clone(), key.clone());
    let here = move || chosen.get().as_deref() == Some(mine.as_str());
    let rule = Memo::new(move |_| data.with(|d| rule_at(d, &key).map(|(_, rule)| rule.clone())));
    let name = rule.with_untracked(|r| r.as_ref().map(|r| r.alert.clone()));
    // A cell of the rule; the row goes with the next answer where there is none any more.
    let cell = move |text: fn(&Rule) -> String| {
        move || {
            data.track();
            rule.with(|r| r.as_ref().map(text))
        }
    };
    view! {
        <tr class:chosen=here>
            <th scope="row"><button type="button" class="link clip" on:click=move |_| app.replace(&[("rule", Some(&target)), ("alert", None)])>{name}</button></th>
            <td>{move || rule.with(|r| r.as_ref().map(|r| state(r.state, alerting::is_mild(&r.labels))))}</td>
            <td>{move || rule.with(|r| r.as_ref().map(health))}</td>
            <td class="figure quiet-cell">{cell(|r| length(r.window_ms))}</td>
            <td class="figure quiet-cell">{cell(|r| if r.for_ms == 0 { "at once".to_owned() } else { length(r.for_ms) })}</td>
            <td class="figure quiet-cell">{cell(|r| r.last_evaluation.as_deref().map_or_else(|| "–".to_owned(), |t| format!("{} ago", ago(t))))}</td>
            <td class="figure quiet-cell">{cell(|r| r.evaluation_ms.map_or_else(|| "–".to_owned(), took))}</td>
        </tr>
    }
}

/// How the last evaluation went; its error in the title, and in the strip above.
pub fn health(rule: &Rule) -> impl IntoView + use<> {
    let (class, which, word) = match rule.health {
        RuleHealth::Ok => ("ok", Icon::Check, "ok"),
        RuleHealth::Error => ("error", Icon::Error, "error"),
        RuleHealth::Unknown => ("ok", Icon::Clock, "not evaluated yet"),
    };
    view! { <span class=format!("alert-state {class}") title=rule.error.clone()>{icon(which)}{word}</span> }
}

pub fn took(ms: f64) -> String {
    format::duration((ms * instant::MILLISECOND as f64) as i64)
}

fn file_row(file: &RuleFile) -> impl IntoView + use<> {
    let state = match &file.error {
        None => view! { <span class="alert-state ok">{icon(Icon::Check)}"in effect"</span> }.into_any(),
        Some(error) => view! { <span class="alert-state error">{icon(Icon::Error)}<span class="wrap">{error.message.clone()}</span></span> }.into_any(),
    };
    view! { <tr><th scope="row"><code>{place(file)}</code></th><td class="wrap">{state}</td></tr> }
}
