//! Columns for keys that the tables did not have from the start: what operators and compaction ask for, at once in the
//! catalog and from the next file on in the files. Never moves a row.

use std::sync::Arc;

use orrery_model::{LearnedColumn, Scope, TableName, TenantId, ValueType};

use super::{Lake, LakeError, LakeView};

impl Lake {
    /// Gives a key a column of a type, string or int, in a tenant's table. Files that are written from then on, merged ones
    /// too, hold the values of that type there; `attributes['key']` and the views say the same before and after. Where the
    /// table has the column, nothing changes. [`LakeError::Learn`] says why a key cannot have one.
    pub async fn learn(
        &self,
        tenant: &TenantId,
        table: TableName,
        scope: Scope,
        key: &str,
        value_type: ValueType,
    ) -> Result<LearnedColumn, LakeError> {
        let mut catalog = Arc::clone(&self.catalog).lock_owned().await;
        let learnt = catalog.learn(tenant, table, (scope, key), value_type).await?;
        let current = self.view();
        let id = match learnt.snapshot {
            // Where another program has written, the next flush must find out and read everything again.
            Some((id, parent)) if parent == current.id => id,
            _ => current.id,
        };
        self.view.store(Arc::new(LakeView { id, learned: catalog.learned(), ..(*current).clone() }));
        Ok(learnt.column)
    }

    /// Takes the column of a key out of use: files that are written from then on have the key in the map again. Files that
    /// have the column keep it, also when they are merged.
    pub async fn unlearn(
        &self,
        tenant: &TenantId,
        table: TableName,
        scope: Scope,
        key: &str,
    ) -> Result<LearnedColumn, LakeError> {
        let mut catalog = Arc::clone(&self.catalog).lock_owned().await;
        let column = catalog.retire(tenant, table, (scope, key)).await?;
        let current = self.view();
        self.view.store(Arc::new(LakeView { learned: catalog.learned(), ..(*current).clone() }));
        Ok(column)
    }
}
