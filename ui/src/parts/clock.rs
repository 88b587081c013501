//! Times as rows and facts show them: day and clock, of which a narrow list leaves the day out, and how long ago.

use leptos::prelude::*;

use crate::context::now;
use crate::{format, instant};

pub fn day_and_clock(at: i64) -> impl IntoView + use<> {
    let text = instant::short_millis(at);
    let (day, clock) = text.rsplit_once(' ').unwrap_or(("", &text));
    view! { <span class="day">{format!("{day} ")}</span>{clock.to_owned()} }
}

/// How long ago a time of the API was, in whole seconds; the text itself where it is none.
pub fn ago(time: &str) -> String {
    let whole = |ns: i64| ns.max(0) / instant::SECOND * instant::SECOND;
    match instant::parse(time) {
        Some(at) if now() - at < instant::SECOND => "under a second".to_owned(),
        Some(at) => format::duration(whole(now() - at)),
        None => time.to_owned(),
    }
}
