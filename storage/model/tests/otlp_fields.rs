//! Holds the list of homes against the protobuf descriptors of OTLP: every field that the three export requests can
//! reach has a home, and every column a field.
#![allow(clippy::unwrap_used)] // Integration tests are no test functions to the lint.

use std::collections::{BTreeSet, HashMap, HashSet};

use arrow::datatypes::{DataType, Fields};
use orrery_model::otlp::{FIELDS, Home};
use orrery_model::{Signal, table};
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet};

/// All messages by their full name.
fn messages() -> HashMap<String, DescriptorProto> {
    fn collect(prefix: &str, message: &DescriptorProto, all: &mut HashMap<String, DescriptorProto>) {
        let name = format!("{prefix}.{}", message.name());
        message.nested_type.iter().for_each(|nested| collect(&name, nested, all));
        all.insert(name, message.clone());
    }
    let mut all = HashMap::new();
    for file in FileDescriptorSet::decode(opentelemetry_proto::DESCRIPTORS).unwrap().file {
        file.message_type.iter().for_each(|message| collect(&format!(".{}", file.package()), message, &mut all));
    }
    all
}

/// The fields that an export request can hold, as (message, field).
fn otlp_fields() -> BTreeSet<(String, String)> {
    let messages = messages();
    let roots = ["trace.v1.ExportTrace", "logs.v1.ExportLogs", "metrics.v1.ExportMetrics"];
    let mut open: Vec<_> =
        roots.iter().map(|root| format!(".opentelemetry.proto.collector.{root}ServiceRequest")).collect();
    let (mut seen, mut fields) = (HashSet::new(), BTreeSet::new());
    while let Some(name) = open.pop() {
        let message = &messages[&name];
        if !seen.insert(name) {
            continue;
        }
        for field in &message.field {
            fields.insert((message.name().to_owned(), field.name().to_owned()));
            if messages.contains_key(field.type_name()) {
                open.push(field.type_name().to_owned());
            }
        }
    }
    fields
}

/// The columns of the tables and the fields of structs in lists, as `table.column` and `table.column.field`.
fn columns() -> BTreeSet<String> {
    fn collect(prefix: &str, fields: &Fields, all: &mut BTreeSet<String>) {
        for field in fields {
            let name = format!("{prefix}.{}", field.name());
            if let DataType::List(element) = field.data_type()
                && let DataType::Struct(fields) = element.data_type()
            {
                collect(&name, fields, all);
            }
            all.insert(name);
        }
    }
    let mut all = BTreeSet::new();
    Signal::ALL.into_iter().for_each(|s| collect(s.table_name(), table(s).schema.fields(), &mut all));
    all
}

fn none<T: std::fmt::Debug>(found: impl Iterator<Item = T>, what: &str) {
    let found: Vec<_> = found.collect();
    assert!(found.is_empty(), "{what}: {found:#?}");
}

#[test]
fn every_otlp_field_has_a_home() {
    let homes: BTreeSet<_> = FIELDS.iter().map(|f| (f.message.to_owned(), f.field.to_owned())).collect();
    assert_eq!(homes.len(), FIELDS.len(), "each field is listed once");
    let otlp = otlp_fields();
    assert!(otlp.len() > 140, "the descriptors are walked");
    none(otlp.difference(&homes), "fields without a home");
    none(homes.difference(&otlp), "homes of no field");
}

#[test]
fn every_home_exists_and_every_column_has_a_field() {
    let columns = columns();
    let mut filled = BTreeSet::new();
    for field in FIELDS {
        let Home::Columns(names) = field.home else { continue };
        for name in names {
            let tables = if name.starts_with('*') { &["spans", "logs", "metrics"][..] } else { &[""] };
            for table in tables {
                let column = name.replacen('*', table, 1);
                assert!(
                    columns.contains(&column),
                    "{}.{} goes to {column}, which is no column",
                    field.message,
                    field.field
                );
                filled.insert(column);
            }
        }
    }
    for signal in Signal::ALL {
        let promoted = table(signal).promoted().map(|(_, p)| format!("{}.{}", signal.table_name(), p.column_name()));
        filled.extend(promoted);
    }
    // Computed from the identity of the point.
    filled.insert("metrics.series_id".to_owned());
    none(columns.difference(&filled), "columns of no field");
}

/// The indexes of the profiles signal are the only fields that are not kept.
#[test]
fn what_is_not_kept_is_of_profiles() {
    let dropped: Vec<_> = FIELDS.iter().filter(|f| matches!(f.home, Home::Nowhere(_))).map(|f| f.field).collect();
    assert_eq!(dropped, ["key_strindex", "string_value_strindex"]);
}
