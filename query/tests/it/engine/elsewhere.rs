//! A plan says all there is to it: rebuilt from what an encoding of it carries, and run where nothing is known of the lake,
//! it gives the same rows. Its scans are made anew from paths, sizes, schema, condition and columns; the catalog's rows,
//! what was learned of files, and the readers that verify are left behind.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::DataSourceExec;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use orrery_model::Identity;

use super::learned::{INTS, Place, TEXTS, engine};

fn rows(batches: &[arrow::array::RecordBatch]) -> Vec<String> {
    let rows = orrery_query::formats::json_rows(batches).expect("rows");
    let mut rows: Vec<String> = rows.into_iter().map(|row| serde_json::Value::Array(row).to_string()).collect();
    rows.sort();
    rows
}

/// The plan with scans that know no more than an encoding of them; and how many there are.
fn stripped(plan: Arc<dyn ExecutionPlan>) -> (Arc<dyn ExecutionPlan>, usize) {
    let mut scans = 0;
    let stripped = plan.transform_up(|node| {
        let Some(exec) = node.downcast_ref::<DataSourceExec>() else { return Ok(Transformed::no(node)) };
        let (config, source) = exec.downcast_to_file_source::<ParquetSource>().expect("a scan of files");
        scans += 1;
        let mut plain = ParquetSource::new(Arc::clone(config.file_schema())).with_pushdown_filters(true);
        if let Some(condition) = source.filter() {
            plain = plain.with_predicate(condition);
        }
        let columns = source.projection().expect("a scan has columns");
        let plain = plain.try_pushdown_projection(columns)?.expect("files are read by columns");
        let bare = |file: &PartitionedFile| PartitionedFile::new(file.path().to_string(), file.object_meta.size);
        let groups = config.file_groups.iter().map(|group| group.iter().map(bare).collect::<Vec<_>>());
        let config = FileScanConfigBuilder::new(config.object_store_url.clone(), plain)
            .with_file_groups(groups.map(FileGroup::new).collect())
            .with_limit(config.limit)
            .build();
        Ok(Transformed::yes(DataSourceExec::from_data_source(config) as Arc<dyn ExecutionPlan>))
    });
    (stripped.expect("a plan").data, scans)
}

#[tokio::test]
async fn a_plan_run_elsewhere_gives_the_same_rows() {
    for (place, keys) in [(Place::Files, INTS), (Place::Files, TEXTS), (Place::Merged, INTS), (Place::Merged, TEXTS)] {
        let (engine, _folder) = engine(place, keys).await;
        let session = engine.session(&Identity::default()).await.expect("a session");
        let state = session.context().state();
        for function in ["map_get", "attribute_map", "stored_map"] {
            assert!(state.scalar_functions().contains_key(function), "{function} is found by its name");
        }
        for query in [
            "SELECT name, attributes['user.id'], attributes['big'], attributes['ok'] FROM spans",
            "SELECT name FROM spans WHERE attributes['user.id'] = 7",
            "SELECT name FROM spans WHERE attributes['user.id'] IN ('7', 'abc', '9.5')",
            "SELECT name FROM spans WHERE attributes['big'] BETWEEN 9007199254740992 AND 9007199254740993",
            "SELECT name, attributes['user.id'] + 1, attributes['load'] * 2 FROM spans WHERE attributes['user.id'] < 10",
            "SELECT attributes['user.id'], count(*) FROM spans GROUP BY 1",
            "SELECT name, attributes, other_attributes, other_attribute_types FROM spans",
        ] {
            let expected = rows(&session.collect(query).await.expect(query).0);
            let frame = session.context().sql(query).await.expect(query);
            let plan = frame.create_physical_plan().await.expect(query);
            let (plan, scans) = stripped(plan);
            assert!(scans > 0, "{query}");
            let elsewhere = collect(plan, SessionContext::new().task_ctx()).await.expect(query);
            assert_eq!(rows(&elsewhere), expected, "{place:?}: {query}");
        }
    }
}
