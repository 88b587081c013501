//! What an answer cost and how it was made, under every panel.

use leptos::prelude::*;
use orrery_api::Receipt;

use super::icon::{Icon, icon};
use crate::context::use_app;
use crate::format;

pub fn receipt(receipt: &Receipt) -> impl IntoView + use<> {
    let app = use_app();
    let files = match (receipt.files, receipt.files_pruned) {
        (0, 0) => "memory".to_owned(),
        (read, 0) => plural(read, "file"),
        (read, pruned) => format!("{} ({} pruned)", plural(read, "file"), format::count(pruned)),
    };
    let mut parts = vec![
        format::duration((receipt.elapsed_ms * 1e6) as i64),
        format!("{} rows", format::count(receipt.rows_scanned)),
        format::bytes(receipt.bytes_scanned),
        files,
    ];
    if receipt.copies > 0 {
        parts.push(format!("{} left out", plural(receipt.copies, "copy").replace("copys", "copies")));
    }
    view! {
        <div class="receipt">
            {receipt.partial.clone().map(|why| view! { <span class="badge warn">{icon(Icon::Warning)}{format!("Partial: {why}")}</span> })}
            <span title="What the server read for this answer">{parts.join(" · ")}</span>
            {receipt.sql.clone().map(|sql| view! { <a href=move || app.link("/sql", &[("q", &sql)])>{icon(Icon::Sql)}"Open in SQL"</a> })}
        </div>
    }
}

fn plural(n: u64, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{} {word}s", format::count(n)) }
}
