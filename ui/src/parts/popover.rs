//! A button that opens a small panel under itself; a click elsewhere or Escape closes it.

use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

#[component]
pub fn Popover(
    open: RwSignal<bool>,
    /// What the button is called where its content does not say it.
    #[prop(into)]
    label: Signal<String>,
    #[prop(optional)] class: &'static str,
    #[prop(into)] button: ViewFn,
    children: ChildrenFn,
) -> impl IntoView {
    let root = NodeRef::<html::Div>::new();
    let outside = window_event_listener(leptos::ev::pointerdown, move |event| {
        if !open.get_untracked() {
            return;
        }
        let target = event.target().and_then(|t| t.dyn_into::<web_sys::Node>().ok());
        let inside = root.get_untracked().is_some_and(|r| r.contains(target.as_ref()));
        if !inside {
            open.set(false);
        }
    });
    on_cleanup(move || outside.remove());
    let children = StoredValue::new(children);
    view! {
        <div class="popover" node_ref=root on:keydown=move |event| {
            if event.key() == "Escape" && open.get_untracked() {
                event.stop_propagation();
                open.set(false);
            }
        }>
            <button
                type="button"
                class=format!("button {class}")
                aria-label=move || label.get()
                aria-expanded=move || open.get().to_string()
                on:click=move |_| open.update(|o| *o = !*o)
            >
                {button.run()}
            </button>
            <Show when=move || open.get()>
                <div class="popover-panel">{children.with_value(|c| c())}</div>
            </Show>
        </div>
    }
}
