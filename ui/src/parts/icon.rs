//! Icons: one set, 16 by 16, drawn with strokes in the text's colour. Never the only sign of a meaning.

use leptos::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    Start,
    Services,
    Map,
    Traces,
    Logs,
    Metrics,
    Sql,
    Bell,
    Search,
    Clock,
    Refresh,
    Play,
    Pause,
    Sun,
    Moon,
    Auto,
    Close,
    Copy,
    Check,
    Error,
    Warning,
    Right,
    Down,
    Left,
    External,
    Database,
    Queue,
    User,
    Link,
    Download,
    Fit,
    Table,
    Filter,
}

impl Icon {
    /// Path data.
    fn path(self) -> &'static str {
        match self {
            Icon::Start => "M2.5 8.2 8 3l5.5 5.2M4 7v6h3V9.8h2V13h3V7",
            Icon::Services => "M2.5 3h11v3.5h-11zM2.5 9.5h11V13h-11zM5 4.75h.01M5 11.25h.01M7.5 4.75H11M7.5 11.25H11",
            Icon::Map => {
                "M3.5 6a1.75 1.75 0 1 0 0-3.5 1.75 1.75 0 0 0 0 3.5zM12.5 9.75a1.75 1.75 0 1 0 0-3.5 1.75 1.75 0 0 0 0 3.5zM4.5 13.5a1.75 1.75 0 1 0 0-3.5 1.75 1.75 0 0 0 0 3.5zM5.2 5l5.6 2.4M10.9 8.7l-4.8 2.4"
            }
            Icon::Traces => "M2 3.5h8M4.5 6.5h8M7 9.5h5M4.5 12.5h9.5",
            Icon::Logs => "M3 2.5h7l3 3v8H3zM10 2.5v3h3M5.5 8h5M5.5 10.5h5",
            Icon::Metrics => "M2.5 2.5v11h11M5 10.5l2.5-3.5 2.3 2L13 4.5",
            Icon::Sql => "M2.5 3h11v10h-11zM5 6l2 2-2 2M8.5 10.2H11",
            Icon::Bell => "M4 11V7.2a4 4 0 0 1 8 0V11l1.2 1.5H2.8zM6.6 12.7a1.5 1.5 0 0 0 2.8 0M8 3.2V1.8",
            Icon::Search => "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.4 10.4l3.1 3.1",
            Icon::Clock => "M8 13.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11zM8 5v3.2l2 1.3",
            Icon::Refresh => "M13 5.5A5.5 5.5 0 1 0 13.4 9M13.2 2.5v3.2H10",
            Icon::Play => "M5 3.5v9l7-4.5z",
            Icon::Pause => "M5.5 3.5v9M10.5 3.5v9",
            Icon::Sun => {
                "M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6zM8 1.5v1.4M8 13.1v1.4M1.5 8h1.4M13.1 8h1.4M3.4 3.4l1 1M11.6 11.6l1 1M3.4 12.6l1-1M11.6 4.4l1-1"
            }
            Icon::Moon => "M13 9.6A5.4 5.4 0 0 1 6.4 3a5.4 5.4 0 1 0 6.6 6.6z",
            Icon::Auto => {
                "M8 13.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11zM8 2.5v11M8 4.5h3.4M8 7h4.8M8 9.5h4.8M8 12h2.8"
            }
            Icon::Close => "M4 4l8 8M12 4l-8 8",
            Icon::Copy => "M5.5 5.5h7.5V13H5.5zM3 10.5V3h7.5",
            Icon::Check => "M3.5 8.5l3 3 6-6.5",
            Icon::Error => "M5.6 2.5h4.8l3.1 3.1v4.8l-3.1 3.1H5.6l-3.1-3.1V5.6zM6 6l4 4M10 6l-4 4",
            Icon::Warning => "M8 2.8l5.8 10.4H2.2zM8 6.5v3.2M8 11.5h.01",
            Icon::Right => "M6 4l4 4-4 4",
            Icon::Down => "M4 6l4 4 4-4",
            Icon::Left => "M10 4L6 8l4 4",
            Icon::External => {
                "M8 13.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11zM2.7 8h10.6M8 2.5c3.6 3.6 3.6 7.4 0 11M8 2.5c-3.6 3.6-3.6 7.4 0 11"
            }
            Icon::Database => {
                "M3 4.3c0-2.4 10-2.4 10 0s-10 2.4-10 0zM3 4.3v7.4c0 2.4 10 2.4 10 0V4.3M3 8c0 2.4 10 2.4 10 0"
            }
            Icon::Queue => "M2.5 5h3v6h-3zM6.5 5h3v6h-3zM10.5 5h3v6h-3z",
            Icon::User => "M8 7.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM3 13.5c.6-5 9.4-5 10 0",
            Icon::Link => {
                "M6.5 9.5l3-3M7.5 5l1.3-1.3a2.5 2.5 0 0 1 3.5 3.5L11 8.5M8.5 11l-1.3 1.3a2.5 2.5 0 0 1-3.5-3.5L5 7.5"
            }
            Icon::Download => "M8 2.5v7.5M5 7.2l3 3 3-3M3 13h10",
            Icon::Fit => "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
            Icon::Table => "M2.5 3h11v10h-11zM2.5 6.2h11M2.5 9.6h11M6.5 6.2V13",
            Icon::Filter => "M2.5 3.5h11L9.5 8.5v4l-3 1v-5z",
        }
    }
}

/// An icon for the eye only; what it says is said in words beside it or on the button around it.
pub fn icon(which: Icon) -> impl IntoView {
    view! {
        <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
            <path d=which.path()></path>
        </svg>
    }
}
