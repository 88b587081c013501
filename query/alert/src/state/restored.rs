//! Time that passed unevaluated: a clock that was put back, and a server that was not there. Changes times only, never a
//! state.

use super::{Alerts, Outcome, State, Terms};

const MINUTE_NS: i64 = 60_000_000_000;

/// A pending alert that nobody has looked at for longer begins anew. As in Prometheus (`rules.alert.for-outage-tolerance`).
pub const OUTAGE_TOLERANCE_NS: i64 = 60 * MINUTE_NS;

/// An alert whose `for` is at least so long does not fire earlier than so long after a restart. As in Prometheus
/// (`rules.alert.for-grace-period`).
pub const FOR_GRACE_NS: i64 = 10 * MINUTE_NS;

impl Alerts {
    /// Brings the alerts' times to `now_ns`, before an evaluation.
    pub(super) fn adjust(&mut self, terms: &Terms, now_ns: i64, outcome: &mut Outcome) {
        let restored = std::mem::take(&mut self.restored);
        let Some(last_ns) = self.last_ns.replace(now_ns) else { return };
        if now_ns < last_ns {
            for (fingerprint, alert) in &mut self.alerts {
                alert.shift(now_ns.saturating_sub(last_ns));
                outcome.changed.push(*fingerprint);
            }
        } else if restored {
            for (fingerprint, alert) in self.alerts.iter_mut().filter(|(_, alert)| alert.state == State::Pending) {
                alert.active_since_ns = pending_since(terms, alert.active_since_ns, last_ns, now_ns);
                outcome.changed.push(*fingerprint);
            }
        }
    }
}

/// Since when an alert that was pending when the server stopped counts as pending. The time while nobody looked is not
/// waiting.
fn pending_since(terms: &Terms, since_ns: i64, last_ns: i64, now_ns: i64) -> i64 {
    let down_ns = now_ns - last_ns;
    if down_ns > OUTAGE_TOLERANCE_NS {
        return now_ns;
    }
    let remaining_ns = terms.for_ns - (last_ns - since_ns);
    if remaining_ns <= 0 {
        since_ns
    } else if terms.for_ns >= FOR_GRACE_NS && remaining_ns < FOR_GRACE_NS {
        now_ns + FOR_GRACE_NS - terms.for_ns
    } else {
        since_ns + down_ns
    }
}
