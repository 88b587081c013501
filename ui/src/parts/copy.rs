//! A button that copies a text and says that it did.

use std::time::Duration;

use leptos::prelude::*;

use super::icon::{Icon, icon};

#[component]
pub fn Copy(
    #[prop(into)] text: Signal<String>,
    /// What is copied, for the button's name: `trace id`.
    #[prop(into)]
    what: String,
) -> impl IntoView {
    let done = RwSignal::new(false);
    let copy = move |_| {
        // The promise is not waited for: where the browser refuses, the text is there to be selected.
        let _ = window().navigator().clipboard().write_text(&text.get_untracked());
        done.set(true);
        set_timeout(
            move || {
                done.try_set(false);
            },
            Duration::from_millis(1_400),
        );
    };
    let name = format!("Copy {what}");
    view! {
        <button type="button" class="button ghost small" aria-label=name.clone() title=name on:click=copy>
            {move || if done.get() { icon(Icon::Check) } else { icon(Icon::Copy) }}
        </button>
    }
}
