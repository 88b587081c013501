//! Who is told, and whether it arrives.

use leptos::prelude::*;
use orrery_api::NotifierStatus;

use super::Data;
use super::first::notifier_steps;
use crate::format;
use crate::parts::clock::ago;
use crate::parts::icon::{Icon, icon};

#[component]
pub fn Notifiers(data: Data) -> impl IntoView {
    let any = Memo::new(move |_| data.with(|d| !d.notifiers.is_empty()));
    move || {
        if !any.get() {
            return view! { <section class="panel rule-group"><h2>"Nobody is told"</h2>{notifier_steps()}</section> }
                .into_any();
        }
        view! {
            <div class="table-wrap">
                <table class="grid">
                    <thead><tr>
                        <th scope="col">"Notifier"</th><th scope="col" class="quiet-cell">"Kind"</th><th scope="col">"State"</th>
                        <th scope="col" class="figure">"Sent"</th><th scope="col" class="figure">"Failed"</th><th scope="col" class="figure quiet-cell">"Waiting"</th><th scope="col" class="figure quiet-cell">"Last success"</th>
                    </tr></thead>
                    <tbody>{move || data.with(|d| d.notifiers.iter().map(row).collect_view())}</tbody>
                </table>
            </div>
        }
        .into_any()
    }
}

fn row(notifier: &NotifierStatus) -> impl IntoView + use<> {
    let state = match &notifier.failing_since {
        Some(since) => view! { <span class="alert-state error" title=since.clone()>{icon(Icon::Error)}{format!("failing for {}", ago(since))}</span> }.into_any(),
        None if notifier.sent == 0 => view! { <span class="alert-state ok">{icon(Icon::Clock)}"nothing sent yet"</span> }.into_any(),
        None => view! { <span class="alert-state ok">{icon(Icon::Check)}"ok"</span> }.into_any(),
    };
    let last = notifier.last_success.as_deref().map_or_else(|| "never".to_owned(), |t| format!("{} ago", ago(t)));
    view! {
        <tr>
            <th scope="row">{notifier.name.clone()}</th>
            <td class="muted quiet-cell">{notifier.kind.clone()}</td>
            <td>{state}</td>
            <td class="figure" title=format::grouped(notifier.sent as i64)>{format::count(notifier.sent)}</td>
            <td class="figure" class:error-text=notifier.failed != 0 class:faint=notifier.failed == 0 title=notifier.last_error.clone()>{format::count(notifier.failed)}</td>
            <td class="figure quiet-cell">{format::count(notifier.queued)}</td>
            <td class="figure quiet-cell" title=notifier.last_success.clone()>{last}</td>
        </tr>
    }
}
