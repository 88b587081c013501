//! The application: its routes, in one list, inside the shell.

use leptos::prelude::*;
use leptos_router::components::{Route, Router, Routes};
use leptos_router::path;

use crate::pages::{alerts, logs, map, metrics, services, sql, start, trace, traces};
use crate::shell;

#[wasm_bindgen::prelude::wasm_bindgen(start)]
pub fn main() {
    console_error_panic_hook::set_once();
    leptos::mount::mount_to_body(App);
}

#[component]
fn App() -> impl IntoView {
    view! {
        <Router>
            <shell::Shell>
                <Routes fallback=shell::NotFound>
                    <Route path=path!("/") view=start::Home/>
                    <Route path=path!("/start") view=start::Start/>
                    <Route path=path!("/services") view=services::Services/>
                    <Route path=path!("/services/:name") view=services::Detail/>
                    <Route path=path!("/map") view=map::Map/>
                    <Route path=path!("/traces") view=traces::Traces/>
                    <Route path=path!("/trace/:id") view=trace::Trace/>
                    <Route path=path!("/logs") view=logs::Logs/>
                    <Route path=path!("/metrics") view=metrics::Metrics/>
                    <Route path=path!("/sql") view=sql::Sql/>
                    <Route path=path!("/alerts") view=alerts::Alerts/>
                </Routes>
            </shell::Shell>
        </Router>
    }
}
