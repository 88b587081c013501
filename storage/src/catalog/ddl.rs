//! The tables of the catalog as statements: those of the DuckLake 1.0 specification, spelled as DuckDB's own extension
//! spells them in SQLite, and some of ours, which DuckDB ignores. Never changes a table that exists.

/// The version of the whole format (catalog use, file names, Parquet layout, filters), see FORMAT.md. A catalog with a
/// greater one is refused.
pub(crate) const FORMAT_VERSION: i64 = 5;

/// <https://ducklake.select/docs/stable/specification/tables/overview>
pub(crate) const DUCKLAKE: &str = r#"
CREATE TABLE ducklake_metadata("key" VARCHAR NOT NULL, "value" VARCHAR NOT NULL, "scope" VARCHAR, scope_id BIGINT);
CREATE TABLE ducklake_snapshot(snapshot_id BIGINT PRIMARY KEY, snapshot_time VARCHAR, schema_version BIGINT, next_catalog_id BIGINT, next_file_id BIGINT);
CREATE TABLE ducklake_snapshot_changes(snapshot_id BIGINT PRIMARY KEY, changes_made VARCHAR, author VARCHAR, commit_message VARCHAR, commit_extra_info VARCHAR);
CREATE TABLE ducklake_schema(schema_id BIGINT PRIMARY KEY, schema_uuid VARCHAR, begin_snapshot BIGINT, end_snapshot BIGINT, schema_name VARCHAR, path VARCHAR, path_is_relative BIGINT);
CREATE TABLE ducklake_table(table_id BIGINT, table_uuid VARCHAR, begin_snapshot BIGINT, end_snapshot BIGINT, schema_id BIGINT, table_name VARCHAR, path VARCHAR, path_is_relative BIGINT);
CREATE TABLE ducklake_view(view_id BIGINT, view_uuid VARCHAR, begin_snapshot BIGINT, end_snapshot BIGINT, schema_id BIGINT, view_name VARCHAR, dialect VARCHAR, "sql" VARCHAR, column_aliases VARCHAR);
CREATE TABLE ducklake_tag(object_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT, "key" VARCHAR, "value" VARCHAR);
CREATE TABLE ducklake_column_tag(table_id BIGINT, column_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT, "key" VARCHAR, "value" VARCHAR);
CREATE TABLE ducklake_data_file(data_file_id BIGINT PRIMARY KEY, table_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT, file_order BIGINT, path VARCHAR, path_is_relative BIGINT, file_format VARCHAR, record_count BIGINT, file_size_bytes BIGINT, footer_size BIGINT, row_id_start BIGINT, partition_id BIGINT, encryption_key VARCHAR, mapping_id BIGINT, partial_max BIGINT);
CREATE TABLE ducklake_file_column_stats(data_file_id BIGINT, table_id BIGINT, column_id BIGINT, column_size_bytes BIGINT, value_count BIGINT, null_count BIGINT, min_value VARCHAR, max_value VARCHAR, contains_nan BIGINT, extra_stats VARCHAR);
CREATE TABLE ducklake_file_variant_stats(data_file_id BIGINT, table_id BIGINT, column_id BIGINT, variant_path VARCHAR, shredded_type VARCHAR, column_size_bytes BIGINT, value_count BIGINT, null_count BIGINT, min_value VARCHAR, max_value VARCHAR, contains_nan BIGINT, extra_stats VARCHAR);
CREATE TABLE ducklake_delete_file(delete_file_id BIGINT PRIMARY KEY, table_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT, data_file_id BIGINT, path VARCHAR, path_is_relative BIGINT, format VARCHAR, delete_count BIGINT, file_size_bytes BIGINT, footer_size BIGINT, encryption_key VARCHAR, partial_max BIGINT);
CREATE TABLE ducklake_column(column_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT, table_id BIGINT, column_order BIGINT, column_name VARCHAR, column_type VARCHAR, initial_default VARCHAR, default_value VARCHAR, nulls_allowed BIGINT, parent_column BIGINT, default_value_type VARCHAR, default_value_dialect VARCHAR);
CREATE TABLE ducklake_table_stats(table_id BIGINT, record_count BIGINT, next_row_id BIGINT, file_size_bytes BIGINT);
CREATE TABLE ducklake_table_column_stats(table_id BIGINT, column_id BIGINT, contains_null BIGINT, contains_nan BIGINT, min_value VARCHAR, max_value VARCHAR, extra_stats VARCHAR);
CREATE TABLE ducklake_partition_info(partition_id BIGINT, table_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT);
CREATE TABLE ducklake_partition_column(partition_id BIGINT, table_id BIGINT, partition_key_index BIGINT, column_id BIGINT, "transform" VARCHAR);
CREATE TABLE ducklake_file_partition_value(data_file_id BIGINT, table_id BIGINT, partition_key_index BIGINT, partition_value VARCHAR);
CREATE TABLE ducklake_files_scheduled_for_deletion(data_file_id BIGINT, path VARCHAR, path_is_relative BIGINT, schedule_start VARCHAR);
CREATE TABLE ducklake_inlined_data_tables(table_id BIGINT, table_name VARCHAR, schema_version BIGINT);
CREATE TABLE ducklake_column_mapping(mapping_id BIGINT, table_id BIGINT, "type" VARCHAR);
CREATE TABLE ducklake_name_mapping(mapping_id BIGINT, column_id BIGINT, source_name VARCHAR, target_field_id BIGINT, parent_column BIGINT, is_partition BIGINT);
CREATE TABLE ducklake_schema_versions(begin_snapshot BIGINT, schema_version BIGINT, table_id BIGINT);
CREATE TABLE ducklake_macro(schema_id BIGINT, macro_id BIGINT, macro_name VARCHAR, begin_snapshot BIGINT, end_snapshot BIGINT);
CREATE TABLE ducklake_macro_impl(macro_id BIGINT, impl_id BIGINT, dialect VARCHAR, "sql" VARCHAR, "type" VARCHAR);
CREATE TABLE ducklake_macro_parameters(macro_id BIGINT, impl_id BIGINT, column_id BIGINT, parameter_name VARCHAR, parameter_type VARCHAR, default_value VARCHAR, default_value_type VARCHAR);
CREATE TABLE ducklake_sort_info(sort_id BIGINT, table_id BIGINT, begin_snapshot BIGINT, end_snapshot BIGINT);
CREATE TABLE ducklake_sort_expression(sort_id BIGINT, table_id BIGINT, sort_key_index BIGINT, expression VARCHAR, dialect VARCHAR, sort_direction VARCHAR, null_order VARCHAR);
"#;

/// `orrery_format` has one row. `orrery_writer` has a row for each writer: `epoch` counts its starts, `flushed_sequence` is
/// the watermark up to which its log is in the files. `orrery_trace_filter.filter` is [`crate::TraceFilter::to_bytes`].
pub(crate) const ORRERY: &str = "
CREATE TABLE orrery_format(version BIGINT NOT NULL);
CREATE TABLE orrery_writer(writer VARCHAR PRIMARY KEY, epoch BIGINT NOT NULL, flushed_sequence BIGINT NOT NULL);
CREATE TABLE orrery_trace_filter(data_file_id BIGINT PRIMARY KEY, filter BLOB NOT NULL);
";

/// What alerting keeps across restarts ([`crate::AlertState`], [`crate::NotifierState`]); each row's `state` or `transition`
/// is JSON of the alerting's own. Since version 2.
pub(crate) const ALERTS: &str = "
CREATE TABLE orrery_alert_state(rule VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, state VARCHAR NOT NULL, PRIMARY KEY (rule, fingerprint));
CREATE TABLE orrery_alert_group(name VARCHAR PRIMARY KEY, last_evaluation BIGINT NOT NULL);
CREATE TABLE orrery_alert_history(id INTEGER PRIMARY KEY AUTOINCREMENT, transition VARCHAR NOT NULL);
CREATE TABLE orrery_alert_notification(name VARCHAR PRIMARY KEY, state VARCHAR NOT NULL);
";

/// Checks of the files' bytes and rows, of all live files together, and of the writers' rows. Since
/// version 3.
pub(crate) const CHECKS: &str = "
CREATE TABLE orrery_file_check(data_file_id BIGINT PRIMARY KEY, tail_offset BIGINT, tail_crc BIGINT, row_check BIGINT NOT NULL);
CREATE TABLE orrery_live_files(files BIGINT NOT NULL, check_sum BIGINT NOT NULL);
INSERT INTO orrery_live_files VALUES (0, 0);
CREATE TABLE orrery_writer_check(writer VARCHAR PRIMARY KEY, row_check BIGINT NOT NULL);
";

/// Where the attributes of data files lie ([`crate::FileLayout`]): files alike share one. And which of the columns that
/// tables have learned no new file gets. Since version 4.
pub(crate) const LAYOUTS: &str = "
CREATE TABLE IF NOT EXISTS orrery_layout(layout_id BIGINT PRIMARY KEY, layout VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS orrery_file_layout(data_file_id BIGINT PRIMARY KEY, layout_id BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS orrery_retired_column(table_id BIGINT NOT NULL, column_id BIGINT NOT NULL, PRIMARY KEY (table_id, column_id));
";

/// What was counted beforehand of the hours of spans ([`crate::Rollups`]), and which files of spans flushes brought, with
/// the ends of their timestamps; `hour` is NULL for a file of several hours. Merges change none of it. Since version 4.
pub(crate) const ROLLUPS: &str = "
CREATE TABLE orrery_span_input(tenant VARCHAR NOT NULL, hour BIGINT, data_file_id BIGINT NOT NULL, min_ns BIGINT NOT NULL, max_ns BIGINT NOT NULL);
CREATE INDEX orrery_span_input_by_hour ON orrery_span_input(tenant, hour, data_file_id);
CREATE TABLE orrery_rollup(tenant VARCHAR NOT NULL, hour BIGINT NOT NULL, version BIGINT NOT NULL, through_file BIGINT NOT NULL, rows BIGINT NOT NULL, before_rows BIGINT NOT NULL, row_check BIGINT NOT NULL, PRIMARY KEY (tenant, hour));
CREATE TABLE orrery_rollup_part(tenant VARCHAR NOT NULL, hour BIGINT NOT NULL, part VARCHAR NOT NULL, body BLOB NOT NULL, PRIMARY KEY (tenant, hour, part));
";
