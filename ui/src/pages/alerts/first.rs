//! What stands where no rule is: a first rule file to copy, and where it goes.

use leptos::prelude::*;

use super::Data;
use crate::parts::copy::Copy;
use crate::setup;

#[component]
pub fn First(data: Data) -> impl IntoView {
    let untold = Memo::new(move |_| data.with(|d| d.notifiers.is_empty()));
    view! {
        <div class="first-rules">
            <section class="panel first-rule" aria-label="First rules">
                <h2>"No rule is loaded"</h2>
                <p>"Rules are files in the form of Prometheus, beside the configuration and in git like it. A rule asks in SQL; every row of its answer is an alert."</p>
                <p>"Put this into "<code>"rules/first.yaml"</code>":"</p>
                {snippet(setup::FIRST_RULES, "rule file")}
                <p>"Name the folder in the configuration file, "<code>"orrery.toml"</code>". Its path is taken from where that file lies."</p>
                {snippet(setup::RULES_CONFIG, "configuration")}
                <p>"Check it before it is used, and see when it would have fired:"</p>
                {snippet("orrery rules check rules/first.yaml\norrery rules backtest rules/first.yaml --since 7d", "commands")}
                <p>"Files that change are read again; a running server needs no restart."</p>
            </section>
            {move || untold.get().then(|| view! { <section class="panel first-rule" aria-label="Notifiers"><h2>"Nobody is told"</h2>{notifier_steps()}</section> })}
        </div>
    }
}

/// How alerts reach a person.
pub fn notifier_steps() -> impl IntoView {
    view! {
        <p>"Alerts stand on this page only, until the configuration names who is told of them."</p>
        {snippet(setup::NOTIFIER_CONFIG, "configuration")}
    }
}

fn snippet(text: &'static str, what: &'static str) -> impl IntoView {
    view! { <div class="snippet"><pre class="mono" tabindex="0" aria-label=format!("The {what} to copy")>{text}</pre><Copy text=text.to_owned() what=what/></div> }
}
