//! The alerts of a moment, and their history out of the table `alerts`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, ListArray, MapBuilder, MapFieldNames, RecordBatch, StringArray, StringBuilder,
    TimestampNanosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use http::StatusCode;
use orrery_api::{AlertHistory, AlertState, Alerts};
use orrery_model::{TableName, table};

use super::world::{self, MS, T0, at};
use crate::fixture::Placement;

/// Name, fingerprint, change and value, a second apart.
const CHANGES: [(&str, &str, &str, &str, f64); 4] = [
    ("ErrorRatio", "00000000000000aa", "inactive", "pending", 0.2),
    ("ErrorRatio", "00000000000000aa", "pending", "firing", 0.3),
    ("Silent", "00000000000000bb", "inactive", "firing", f64::NAN),
    ("ErrorRatio", "00000000000000aa", "firing", "resolved", 0.1),
];

fn history() -> RecordBatch {
    let table = table(TableName::Alerts);
    let times = || Arc::new(TimestampNanosecondArray::from_iter_values((1..=4).map(|s| T0 + s * 1_000 * MS)));
    let text = |of: fn(&(&'static str, &'static str, &'static str, &'static str, f64)) -> &'static str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(CHANGES.iter().map(of)))
    };
    let columns = table.schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "timestamp" | "active_since" => times(),
            "alert" => text(|c| c.0),
            "fingerprint" => text(|c| c.1),
            "previous_state" => text(|c| c.2),
            "state" => text(|c| c.3),
            "rule_group" => text(|_| "services"),
            "rule_file" => text(|_| "rules/services.yaml"),
            "value" => Arc::new(Float64Array::from_iter_values(CHANGES.iter().map(|c| c.4))),
            "labels" => maps(field.data_type(), &[("alertname", "x"), ("service_name", "cart")]),
            "annotations" => maps(field.data_type(), &[]),
            "trace_ids" => {
                let DataType::List(element) = field.data_type() else { panic!("a list") };
                let none = arrow::array::new_empty_array(element.data_type());
                Arc::new(ListArray::new(element.clone(), OffsetBuffer::new_zeroed(CHANGES.len()), none, None))
            }
            _ => arrow::array::new_null_array(field.data_type(), CHANGES.len()),
        }
    });
    RecordBatch::try_new(table.schema.clone(), columns.collect()).expect("the table's schema")
}

/// The same map in every row.
fn maps(data_type: &DataType, pairs: &[(&str, &str)]) -> ArrayRef {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for _ in CHANGES {
        for (name, value) in pairs {
            builder.keys().append_value(name);
            builder.values().append_value(value);
        }
        builder.append(true).expect("keys and values are even");
    }
    arrow::compute::cast(&builder.finish(), data_type).expect("field ids only")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_evaluates_and_nothing_is_wrong() {
    let world = world::world(&[], Placement::Memory, 10_000);
    assert_eq!(world.get::<Alerts>("alerts", &[]).await, Alerts::default());
    assert!(world.get::<AlertHistory>("alerts/history", &[]).await.transitions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_newest_first_and_narrows() {
    for placement in Placement::ALL {
        let world = world::world_with_alerts(history(), placement, 10_000);
        let ask = async |asked: &[(&str, &str)]| world.get::<AlertHistory>("alerts/history", asked).await;
        let all = ask(&[]).await.transitions;
        let states: Vec<_> = all.iter().map(|t| (t.alert.as_str(), t.from, t.to)).collect();
        let expected = [
            ("ErrorRatio", AlertState::Firing, AlertState::Resolved),
            ("Silent", AlertState::Inactive, AlertState::Firing),
            ("ErrorRatio", AlertState::Pending, AlertState::Firing),
            ("ErrorRatio", AlertState::Inactive, AlertState::Pending),
        ];
        assert_eq!(states, expected);
        assert_eq!((all[0].value, all[1].value), (Some(0.1), None));
        assert_eq!((all[0].group.as_str(), all[0].labels["service_name"].as_str()), ("services", "cart"));
        assert!(all[0].timestamp.ends_with(":24.000000000Z"), "{}", all[0].timestamp);
        let (from, to) = (at(2_000), at(4_000));
        for (asked, count) in [
            (&[("alert", "Silent")][..], 1),
            (&[("fingerprint", "00000000000000aa")], 3),
            (&[("alert", "Silent"), ("fingerprint", "00000000000000aa")], 0),
            (&[("alert", "it's")], 0),
            (&[("start", from.as_str()), ("end", to.as_str())], 2),
        ] {
            assert_eq!(ask(asked).await.transitions.len(), count, "{asked:?}");
        }
        let cut = ask(&[("limit", "2")]).await;
        assert_eq!((cut.transitions.len(), cut.receipt.partial.is_some()), (2, true));
        let (status, _) = world.ask("alerts/history", &[("limit", "10001")]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}
