//! What notifiers keep over restarts: text under names, in a table of the catalog's database (`orrery_alert_notification`,
//! FORMAT.md). A connection of its own, so that a flush and a notification wait for each other's transaction only. Never
//! looks into the text.

use std::path::Path;

use sqlx::{Connection, Row, SqliteConnection};
use tokio::sync::Mutex;

use crate::catalog::{database, options};
use crate::lake::LakeError;

/// The entries of a lake that is open.
pub struct NotifierState {
    connection: Mutex<SqliteConnection>,
}

impl NotifierState {
    /// Opens the catalog of a data folder whose [`crate::Store`] is open: that one creates the table.
    pub async fn open(dir: &Path) -> Result<Self, LakeError> {
        let connection = SqliteConnection::connect_with(&options(&dir.join("catalog.sqlite")))
            .await
            .map_err(database("open the notifiers' state"))?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// All names and texts, by name.
    pub async fn load(&self) -> Result<Vec<(String, String)>, LakeError> {
        let fail = database("read the notifiers' state");
        let rows = sqlx::query("SELECT name, state FROM orrery_alert_notification ORDER BY name")
            .fetch_all(&mut *self.connection.lock().await)
            .await
            .map_err(&fail)?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, _>>().map_err(fail)
    }

    /// Writes texts, and removes the names without one: all of it is on stable storage when this returns, or none.
    pub async fn save(&self, changes: &[(String, Option<String>)]) -> Result<(), LakeError> {
        let fail = database("write the notifiers' state");
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(&fail)?;
        for (name, state) in changes {
            let query = match state {
                Some(state) => sqlx::query("INSERT OR REPLACE INTO orrery_alert_notification VALUES ($1, $2)")
                    .bind(name)
                    .bind(state),
                None => sqlx::query("DELETE FROM orrery_alert_notification WHERE name = $1").bind(name),
            };
            query.execute(&mut *transaction).await.map_err(&fail)?;
        }
        transaction.commit().await.map_err(&fail)
    }
}
