//! What alerting keeps across restarts, in tables of its own in the catalog's database: the state of alerts, when groups
//! were evaluated, and changes of state on their way into the lake. Has a connection of its own; knows nothing of what the
//! texts that it keeps say.

use std::collections::HashMap;
use std::path::Path;

use sqlx::{Connection, Row, SqliteConnection};
use tokio::sync::Mutex;

use crate::catalog::{database, options};
use crate::lake::LakeError;

/// The database of an opened lake. A call is one transaction, on stable storage when it returns.
#[derive(Debug)]
pub struct AlertState {
    connection: Mutex<SqliteConnection>,
}

/// One alert as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAlert {
    /// Which rule's; the caller's own key.
    pub rule: String,
    pub fingerprint: String,
    pub state: String,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// By rule and fingerprint.
    pub alerts: Vec<KeptAlert>,
    /// Group by group, nanoseconds since the Unix epoch.
    pub last_evaluations: HashMap<String, i64>,
}

/// What an evaluation changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertChanges {
    pub put: Vec<KeptAlert>,
    /// Rule and fingerprint.
    pub remove: Vec<(String, String)>,
    /// Changes of state for the lake's history, in their order.
    pub history: Vec<String>,
    /// Groups with the time of their last evaluation.
    pub evaluated: Vec<(String, i64)>,
}

impl AlertChanges {
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty() && self.history.is_empty() && self.evaluated.is_empty()
    }

    /// Adds later changes to these.
    pub fn extend(&mut self, later: Self) {
        let replaced = |rule: &str, fingerprint: &str| {
            later.put.iter().any(|put| put.rule == rule && put.fingerprint == fingerprint)
                || later.remove.iter().any(|(r, f)| r == rule && f == fingerprint)
        };
        self.put.retain(|put| !replaced(&put.rule, &put.fingerprint));
        self.remove.retain(|(rule, fingerprint)| !replaced(rule, fingerprint));
        self.evaluated.retain(|(group, _)| later.evaluated.iter().all(|(other, _)| other != group));
        self.put.extend(later.put);
        self.remove.extend(later.remove);
        self.history.extend(later.history);
        self.evaluated.extend(later.evaluated);
    }
}

impl AlertState {
    /// Opens the database of the lake in `dir`, which is open already: that creates the tables.
    pub async fn open(dir: &Path) -> Result<Self, LakeError> {
        let connection = SqliteConnection::connect_with(&options(&dir.join("catalog.sqlite")))
            .await
            .map_err(database("open the alerts' state"))?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    pub async fn load(&self) -> Result<Kept, LakeError> {
        let fail = database("read the alerts' state");
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query("SELECT rule, fingerprint, state FROM orrery_alert_state ORDER BY rule, fingerprint")
            .fetch_all(&mut *connection)
            .await
            .map_err(&fail)?;
        let mut kept = Kept::default();
        for row in rows {
            let text = |index: usize| row.try_get::<String, _>(index).map_err(&fail);
            kept.alerts.push(KeptAlert { rule: text(0)?, fingerprint: text(1)?, state: text(2)? });
        }
        let rows = sqlx::query("SELECT name, last_evaluation FROM orrery_alert_group")
            .fetch_all(&mut *connection)
            .await
            .map_err(&fail)?;
        for row in rows {
            kept.last_evaluations.insert(row.try_get(0).map_err(&fail)?, row.try_get(1).map_err(&fail)?);
        }
        Ok(kept)
    }

    /// All of the changes, or none.
    pub async fn apply(&self, changes: &AlertChanges) -> Result<(), LakeError> {
        let fail = database("keep the alerts' state");
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(&fail)?;
        for (rule, fingerprint) in &changes.remove {
            sqlx::query("DELETE FROM orrery_alert_state WHERE rule = $1 AND fingerprint = $2")
                .bind(rule)
                .bind(fingerprint)
                .execute(&mut *transaction)
                .await
                .map_err(&fail)?;
        }
        for alert in &changes.put {
            sqlx::query(
                "INSERT INTO orrery_alert_state VALUES ($1, $2, $3)
                 ON CONFLICT (rule, fingerprint) DO UPDATE SET state = excluded.state",
            )
            .bind(&alert.rule)
            .bind(&alert.fingerprint)
            .bind(&alert.state)
            .execute(&mut *transaction)
            .await
            .map_err(&fail)?;
        }
        for transition in &changes.history {
            sqlx::query("INSERT INTO orrery_alert_history (transition) VALUES ($1)")
                .bind(transition)
                .execute(&mut *transaction)
                .await
                .map_err(&fail)?;
        }
        for (group, time) in &changes.evaluated {
            sqlx::query(
                "INSERT INTO orrery_alert_group VALUES ($1, $2)
                 ON CONFLICT (name) DO UPDATE SET last_evaluation = excluded.last_evaluation",
            )
            .bind(group)
            .bind(time)
            .execute(&mut *transaction)
            .await
            .map_err(&fail)?;
        }
        transaction.commit().await.map_err(&fail)
    }

    /// The oldest changes of state that are not known to be in the lake, with their numbers, which ascend.
    pub async fn history(&self, limit: u32) -> Result<Vec<(i64, String)>, LakeError> {
        let fail = database("read the alerts' history");
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query("SELECT id, transition FROM orrery_alert_history ORDER BY id LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(&mut *connection)
            .await
            .map_err(&fail)?;
        rows.iter().map(|row| Ok((row.try_get(0).map_err(&fail)?, row.try_get(1).map_err(&fail)?))).collect()
    }

    /// Forgets the changes of state up to this number, which are in the lake.
    pub async fn forget_history(&self, through: i64) -> Result<(), LakeError> {
        sqlx::query("DELETE FROM orrery_alert_history WHERE id <= $1")
            .bind(through)
            .execute(&mut *self.connection.lock().await)
            .await
            .map(|_| ())
            .map_err(database("forget the alerts' history"))
    }

    /// Closes the connection. Dropping it is as safe, and leaves the database's log beside it.
    pub async fn close(self) -> Result<(), LakeError> {
        self.connection.into_inner().close().await.map_err(database("close the alerts' state"))
    }
}
