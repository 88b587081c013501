//! The time of a row: day and clock, of which a narrow list leaves the day out.

use leptos::prelude::*;

use crate::instant;

pub fn day_and_clock(at: i64) -> impl IntoView + use<> {
    let text = instant::short_millis(at);
    let (day, clock) = text.rsplit_once(' ').unwrap_or(("", &text));
    view! { <span class="day">{format!("{day} ")}</span>{clock.to_owned()} }
}
