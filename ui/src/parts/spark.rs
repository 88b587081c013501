//! A sparkline: calls or errors in equal steps, for a table's cell. The figure beside it says the same in text.

use leptos::prelude::*;

use crate::scale;

const WIDTH: f64 = 84.0;
const HEIGHT: f64 = 16.0;

pub fn spark(values: &[u64], error: bool) -> impl IntoView + use<> {
    let line = scale::spark(values, WIDTH, HEIGHT - 2.0);
    let area = format!("0,{HEIGHT} {line} {WIDTH},{HEIGHT}");
    let empty = values.iter().all(|v| *v == 0);
    view! {
        <svg class="spark" class:error=error class:empty=empty width="84" height="16" viewBox="0 -1 84 17" aria-hidden="true">
            <polygon points=area></polygon>
            <polyline points=line></polyline>
        </svg>
    }
}
