//! A button that copies a text and says that it did.

use std::time::Duration;

use js_sys::{Function, Reflect};
use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};

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
        done.set(write(&text.get_untracked()));
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

/// Puts a text into the clipboard; whether the browser took it. Without TLS, and not on this machine, a browser has no
/// clipboard object: there the text is selected in a field and copied from it.
fn write(text: &str) -> bool {
    let navigator = window().navigator();
    let modern = Reflect::get(&navigator, &JsValue::from_str("clipboard")).is_ok_and(|c| c.is_object());
    if modern {
        // The promise is not waited for: where it is refused, the text is still there to be selected.
        let _ = navigator.clipboard().write_text(text);
        return true;
    }
    let copied = || -> Result<bool, JsValue> {
        let field: web_sys::HtmlTextAreaElement = document().create_element("textarea")?.unchecked_into();
        field.set_value(text);
        document().body().ok_or(JsValue::NULL)?.append_child(&field)?;
        field.select();
        let command: Function = Reflect::get(&document(), &JsValue::from_str("execCommand"))?.dyn_into()?;
        let done = command.call1(&document(), &JsValue::from_str("copy"))?.is_truthy();
        field.remove();
        Ok(done)
    };
    copied().unwrap_or(false)
}
