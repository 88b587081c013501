//! The time range: presets, two ends, and a line to type it in words.

use leptos::html;
use leptos::prelude::*;

use crate::context::{now, use_app};
use crate::instant;
use crate::parts::icon::{Icon, icon};
use crate::parts::popover::Popover;
use crate::range::{PRESETS, TimeRange, parse_typed};

#[component]
pub fn TimePicker() -> impl IntoView {
    let app = use_app();
    let open = RwSignal::new(false);
    let label = Signal::derive(move || format!("Time range: {}", app.range.get().label()));
    view! {
        <Popover open label class="time" button=move || view! {
            {icon(Icon::Clock)}<span class="clip">{move || app.range.get().label()}</span><span class="zone wide">"UTC"</span>{icon(Icon::Down)}
        }>
            <Panel open/>
        </Popover>
    }
}

#[component]
fn Panel(open: RwSignal<bool>) -> impl IntoView {
    let app = use_app();
    let typed = RwSignal::new(String::new());
    let parsed = Memo::new(move |_| typed.with(|t| (!t.trim().is_empty()).then(|| parse_typed(t, now()))));
    let input = NodeRef::<html::Input>::new();
    Effect::new(move |_| {
        if let Some(input) = input.get() {
            // Focus cannot fail on an element that is in the page.
            let _ = input.focus();
        }
    });
    let choose = move |range: TimeRange| {
        app.set_range(range);
        open.set(false);
    };
    let earlier = move |back: bool| {
        let window = app.window.get_untracked();
        let by = if back { -window.length() } else { window.length() };
        choose(TimeRange::Between(window.start.saturating_add(by), window.end.saturating_add(by)));
    };
    view! {
        <div class="time-panel">
            <label class="field">
                <span>"Type a range"</span>
                <input node_ref=input class="mono" type="text" spellcheck="false" placeholder="last 45m, today, 2023-01-29 08:00 to 16:00"
                    prop:value=move || typed.get()
                    on:input=move |event| typed.set(event_target_value(&event))
                    on:keydown=move |event| if event.key() == "Enter" && let Some(Ok(range)) = parsed.get_untracked() { choose(range) }/>
            </label>
            <p class="time-answer" aria-live="polite" class:error=move || matches!(parsed.get(), Some(Err(_)))>
                {move || match parsed.get() {
                    None => {
                        let window = app.window.get();
                        format!("{} – {}", instant::minute_text(window.start), instant::minute_text(window.end))
                    }
                    Some(Ok(range)) => format!("{} · Enter applies it", range.label()),
                    Some(Err(why)) => why,
                }}
            </p>
            <div class="presets">
                {PRESETS.into_iter().map(|(name, length)| view! {
                    <button type="button" class="menu-item" class:here=move || app.range.get() == TimeRange::Last(length)
                        on:click=move |_| choose(TimeRange::Last(length))>{name}</button>
                }).collect_view()}
            </div>
            <div class="time-shift">
                <button type="button" class="button small" on:click=move |_| earlier(true)>{icon(Icon::Left)}"Earlier"</button>
                <button type="button" class="button small" on:click=move |_| earlier(false)>"Later"{icon(Icon::Right)}</button>
            </div>
        </div>
    }
}
