//! The alerts of this moment, asked for once for all that shows them: the rail, the services, the map, the page. What
//! fires does not depend on the chosen window.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;
use orrery_api::{AlertState, Alerts};

use crate::alerting;
use crate::context::Context;
use crate::fetch::{Fetched, fetch};

/// How often they are asked for, beside every refresh of the page.
const EVERY: Duration = Duration::from_secs(15);

#[derive(Clone, Copy)]
pub struct Watch {
    pub alerts: Fetched<Alerts>,
    /// How many fire, and whether one of them is urgent, by the service's id.
    pub by_service: Memo<Arc<BTreeMap<String, (usize, bool)>>>,
}

impl Watch {
    pub fn count(&self, state: AlertState) -> usize {
        self.alerts.data.with(|a| a.as_ref().map_or(0, |a| a.alerts.iter().filter(|a| a.state == state).count()))
    }

    /// Of one service; none where nothing fires.
    pub fn firing(&self, service: &str) -> Option<(usize, bool)> {
        self.by_service.with(|found| alerting::firing_of(found, service))
    }
}

/// Makes the watch; once, in the shell.
pub fn provide(app: Context) -> Watch {
    let alerts = fetch::<Alerts>(move || {
        app.window.track();
        Some("/api/v1/alerts".to_owned())
    });
    alerts.retry_every(EVERY);
    let by_service = Memo::new(move |_| {
        Arc::new(alerts.data.with(|a| a.as_ref().map(|a| alerting::firing_by_service(&a.alerts)).unwrap_or_default()))
    });
    let watch = Watch { alerts, by_service };
    provide_context(watch);
    watch
}

pub fn use_alerts() -> Watch {
    expect_context::<Watch>()
}
