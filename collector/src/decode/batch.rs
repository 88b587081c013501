//! The one walk over a request of any signal: resources, scopes, records, the rows they become and the records that are
//! rejected. What a record is, [`Records`] says.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{ArrowPrimitiveType, Int64Type};
use arrow::error::ArrowError;
use orrery_model::{Scope, Signal, Table, ValueType, table};

use super::attributes::{ItemAttributes, Keys, Maps, SetLimits};
use super::cardinality::{Cardinality, Guard};
use super::column::{Column, Map, Numbers, Text, Zeros};
use super::fault::{Fault, Reason, Rejections};
use super::shared::{Shared, Value};
use super::wire::keys::*;
use super::wire::{Wire, len};
use super::{DEEPEST_NESTING, DecodeLimits, Decoded, strip};

/// Memory that each row takes whatever it holds, for the limit on a batch: offsets, numbers and the short words.
const ROW_BYTES: usize = 256;
/// However large a batch may be, no column's offsets overflow.
const LARGEST_BATCH: usize = 1 << 30;
/// The fields of a `Resource*` and of a `Scope*` message, alike in all signals: 1, 2 and 3.
const GROUP_FIELDS: u32 = 0b1110;

/// The columns of one signal that no other has.
pub(super) trait Records: Default {
    /// Decodes an element of a scope's list, whose field begins at the address `at`, by [`Batch::row`].
    fn decode(&mut self, batch: &mut Batch, at: usize, record: Wire<'_>) -> Result<(), Fault>;

    /// How many records such an element holds.
    fn count(record: Wire<'_>) -> Result<u64, Fault>;

    fn columns(&mut self) -> Vec<(&'static str, &mut dyn Column)>;

    /// Makes room for as many records in the columns that all of them fill.
    fn reserve(&mut self, records: usize);
}

/// What a row tells of itself beside its columns.
#[derive(Default)]
pub(super) struct Noted {
    pub untimed: bool,
    pub duplicate_keys: u64,
}

/// Why there is no batch.
pub(super) enum Failure {
    Fault(Fault),
    Columns(ArrowError),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Rows that follow each other with one resource and scope.
struct Run {
    resource: usize,
    scope: usize,
    rows: usize,
}

/// What all signals have in common while a request is decoded.
pub(super) struct Batch<'a> {
    signal: Signal,
    pub received_ns: i64,
    pub limits: SetLimits<'a>,
    hours: Hours,
    pub attributes: ItemAttributes,
    rows: usize,
    runs: Vec<Run>,
    resources: Vec<Shared>,
    scopes: Vec<Shared>,
    /// Memory that each row takes now beyond its own bytes, what all took so far, and what they may.
    pub row_bytes: usize,
    bytes: usize,
    bytes_limit: usize,
    noted: Noted,
    rejected: u64,
    rejections: Rejections,
    first_reason: Option<Reason>,
    /// The addresses of the fields that were rejected, ascending.
    rejected_fields: Vec<usize>,
}

/// The hours that a request's rows lie in: each costs a file at the next flush.
struct Hours {
    /// Of the one that the last row was in.
    start_ns: i64,
    known: Vec<i64>,
    limit: usize,
}

impl Hours {
    const LENGTH_NS: i64 = 3_600_000_000_000;

    #[inline]
    fn is_within(&self, timestamp_ns: i64) -> bool {
        (0..Self::LENGTH_NS).contains(&timestamp_ns.wrapping_sub(self.start_ns))
    }

    fn enter(&mut self, timestamp_ns: i64) -> Result<(), Fault> {
        let hour = timestamp_ns.div_euclid(Self::LENGTH_NS);
        if let Err(place) = self.known.binary_search(&hour) {
            if self.known.len() >= self.limit {
                return Err(Fault::Reject(Reason::Hours { limit: self.limit }));
            }
            self.known.insert(place, hour);
        }
        self.start_ns = hour.saturating_mul(Self::LENGTH_NS);
        Ok(())
    }
}

/// Decodes a request.
pub(super) fn decode<R: Records>(
    signal: Signal,
    body: &[u8],
    received_ns: i64,
    limits: &DecodeLimits,
    tenant: Option<&Cardinality>,
    check_text: bool,
) -> Result<Decoded, Failure> {
    let guard = Guard::new(tenant, received_ns);
    let mut batch = Batch::new(signal, received_ns, limits, &guard);
    let mut records = R::default();
    let mut wire = Wire::new(body, check_text);
    // No more room than rows may take in all: an element can be two bytes on the wire.
    records.reserve(count_elements(wire)?.min(limits.batch_bytes / ROW_BYTES));
    loop {
        let at = wire.address();
        let Some(key) = wire.key()? else { break };
        if key == len(1) {
            batch.resource_group(&mut records, at, wire.message()?)?;
        } else {
            wire.skip(key, 0b10)?;
        }
    }
    let reject_message = batch.reject_message();
    let offsets: Vec<usize> = batch.rejected_fields.iter().map(|address| address - body.as_ptr().addr()).collect();
    let accepted_body = if offsets.is_empty() { None } else { Some(strip::strip(signal, body, &offsets)?) };
    Ok(Decoded {
        rejected: batch.rejected,
        rejections: batch.rejections,
        reject_message,
        accepted_body,
        untimed: batch.noted.untimed,
        duplicate_keys: batch.noted.duplicate_keys,
        batch: batch.finish(&mut records).map_err(Failure::Columns)?,
    })
}

impl<'a> Batch<'a> {
    fn new(signal: Signal, received_ns: i64, limits: &DecodeLimits, guard: &'a Guard<'a>) -> Self {
        Self {
            signal,
            received_ns,
            limits: SetLimits { attributes: limits.attributes, nesting: limits.nesting.min(DEEPEST_NESTING), guard },
            hours: Hours { start_ns: 0, known: Vec::new(), limit: limits.hours },
            attributes: ItemAttributes::new(signal),
            rows: 0,
            runs: Vec::new(),
            resources: Vec::new(),
            scopes: Vec::new(),
            row_bytes: 0,
            bytes: 0,
            bytes_limit: limits.batch_bytes.min(LARGEST_BATCH),
            noted: Noted::default(),
            rejected: 0,
            rejections: Rejections::default(),
            first_reason: None,
            rejected_fields: Vec::new(),
        }
    }

    /// Decodes a `Resource*` message: first what its rows share, wherever it stands, then the scopes.
    fn resource_group<R: Records>(&mut self, records: &mut R, at: usize, group: Wire<'_>) -> Result<(), Fault> {
        let read = |group| {
            let (resource, schema_url) = shared_fields(group)?;
            Shared::resource(resource, schema_url, self.signal, &self.limits)
        };
        match read(group) {
            Ok(resource) => {
                self.noted.duplicate_keys += resource.duplicate_keys;
                self.resources.push(resource);
            }
            Err(Fault::Reject(reason)) => {
                let mut count = 0;
                each(group, |_, scope| {
                    each(scope, |_, record| {
                        count += R::count(record)?;
                        Ok(())
                    })
                })?;
                self.reject(at, reason, count);
                return Ok(());
            }
            Err(fault) => return Err(fault),
        }
        each(group, |at, scope| self.scope_group(records, at, scope))
    }

    fn scope_group<R: Records>(&mut self, records: &mut R, at: usize, group: Wire<'_>) -> Result<(), Fault> {
        let read = |group| {
            let (scope, schema_url) = shared_fields(group)?;
            Shared::scope(scope, schema_url, self.signal, &self.limits)
        };
        match read(group) {
            Ok(scope) => {
                self.noted.duplicate_keys += scope.duplicate_keys;
                let resource = self.resources.len() - 1;
                self.row_bytes = ROW_BYTES + scope.row_bytes() + self.resources[resource].row_bytes();
                self.runs.push(Run { resource, scope: self.scopes.len(), rows: 0 });
                self.scopes.push(scope);
            }
            Err(Fault::Reject(reason)) => {
                let mut count = 0;
                each(group, |_, record| {
                    count += R::count(record)?;
                    Ok(())
                })?;
                self.reject(at, reason, count);
                return Ok(());
            }
            Err(fault) => return Err(fault),
        }
        let rows = self.rows;
        each(group, |at, record| records.decode(self, at, record))?;
        let run = self.runs.last_mut().expect("a run was pushed above");
        run.rows = self.rows - rows;
        Ok(())
    }

    /// Decodes one row by `row`, which gets the row's number; takes back all that it put where the record is rejected.
    #[inline]
    pub fn row<R: Records>(
        &mut self,
        records: &mut R,
        at: usize,
        row: impl FnOnce(&mut R, &mut Self, usize) -> Result<Noted, Fault>,
    ) -> Result<(), Fault> {
        let number = self.rows;
        self.bytes += self.row_bytes;
        if self.bytes > self.bytes_limit {
            return Err(Fault::TooLarge { bytes: self.bytes, limit: self.bytes_limit });
        }
        match row(records, self, number) {
            Ok(noted) => {
                self.rows += 1;
                self.noted.untimed |= noted.untimed;
                self.noted.duplicate_keys += noted.duplicate_keys;
                Ok(())
            }
            Err(Fault::Reject(reason)) => {
                self.attributes.truncate(number);
                records.columns().into_iter().for_each(|(_, column)| column.truncate(number));
                self.reject(at, reason, 1);
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Notes the hour of a row's timestamp. Called last, so that rows which are rejected for something else touch none.
    #[inline]
    pub fn touch(&mut self, timestamp_ns: i64) -> Result<(), Fault> {
        if !self.hours.known.is_empty() && self.hours.is_within(timestamp_ns) {
            return Ok(());
        }
        self.hours.enter(timestamp_ns)
    }

    /// The identity of a series up to the scope: the digests of resource and scope.
    pub fn digests(&self) -> (u128, u128) {
        let run = self.runs.last().expect("records stand within a scope");
        (self.resources[run.resource].digest, self.scopes[run.scope].digest)
    }

    /// Counts attributes of something that all rows of a metric share.
    pub fn note_duplicate_keys(&mut self, dropped: u64) {
        self.noted.duplicate_keys += dropped;
    }

    /// Rejects the field at the address `at` with the `count` records in it.
    #[cold]
    pub fn reject(&mut self, at: usize, reason: Reason, count: u64) {
        // Without a record nothing is lost that would have been stored.
        if count > 0 {
            self.rejected += count;
            self.rejections[reason.index()] += count;
            self.rejected_fields.push(at);
            self.first_reason.get_or_insert(reason);
        }
    }

    fn reject_message(&self) -> Option<String> {
        let reason = self.first_reason?;
        let what = match self.signal {
            Signal::Spans => "spans",
            Signal::Logs => "log records",
            Signal::Metrics => "data points",
        };
        Some(format!("{} {what} rejected, the first since {reason}", self.rejected))
    }

    fn finish<R: Records>(mut self, records: &mut R) -> Result<RecordBatch, ArrowError> {
        let table = table(self.signal);
        let zeros = Zeros::new(self.rows);
        let mut arrays: Vec<Option<ArrayRef>> = vec![None; table.columns.len()];
        for (name, column) in records.columns() {
            put(table, &mut arrays, name, |data_type| column.finish(self.rows, data_type, &zeros))?;
        }
        self.attributes.finish(self.rows, table, &zeros, &mut arrays)?;
        let repeat = Repeat { table, zeros: &zeros, rows: self.rows };
        let resources = || self.runs.iter().map(|run| (&self.resources[run.resource], run.rows));
        let scopes = || self.runs.iter().map(|run| (&self.scopes[run.scope], run.rows));
        repeat.attributes(&mut arrays, Scope::Resource, self.signal, resources)?;
        repeat.attributes(&mut arrays, Scope::Scope, self.signal, scopes)?;
        repeat.text(&mut arrays, "resource_schema_url", resources().map(|(r, n)| (present(&r.schema_url), n)))?;
        repeat.text(&mut arrays, "resource_entity_refs", resources().map(|(r, n)| (present(&r.entity_refs), n)))?;
        repeat.count(&mut arrays, "resource_dropped_attributes_count", resources())?;
        repeat.text(&mut arrays, "scope_name", scopes().map(|(s, n)| (present(&s.name), n)))?;
        repeat.text(&mut arrays, "scope_version", scopes().map(|(s, n)| (present(&s.version), n)))?;
        repeat.text(&mut arrays, "scope_schema_url", scopes().map(|(s, n)| (present(&s.schema_url), n)))?;
        repeat.count(&mut arrays, "scope_dropped_attributes_count", scopes())?;
        let missing = |i: usize| ArrowError::SchemaError(format!("column {} was not decoded", table.columns[i].name));
        let arrays: Result<Vec<_>, _> =
            arrays.into_iter().enumerate().map(|(i, a)| a.ok_or_else(|| missing(i))).collect();
        RecordBatch::try_new(table.schema.clone(), arrays?)
    }
}

/// How many elements the lists of all scopes have: spans, log records or metrics.
fn count_elements(mut request: Wire<'_>) -> Result<usize, Fault> {
    let mut count = 0;
    while let Some(key) = request.key()? {
        if key != len(1) {
            request.skip_value(key, 0)?;
            continue;
        }
        each(request.message()?, |_, scope| {
            each(scope, |_, _| {
                count += 1;
                Ok(())
            })
        })?;
    }
    Ok(count)
}

/// The message in field 1 of a group, empty without one, and the schema URL in field 3.
fn shared_fields(group: Wire<'_>) -> Result<(Wire<'_>, &[u8]), Fault> {
    let (mut wire, mut shared, mut schema_url) = (group.checked(), None, &[][..]);
    while let Some(key) = wire.key()? {
        match key {
            LEN_1 => {
                if shared.is_some() {
                    return Err(Fault::Irregular);
                }
                shared = Some(wire.message()?);
            }
            LEN_2 => drop(wire.bytes()?),
            LEN_3 => schema_url = wire.text()?,
            _ => wire.skip(key, GROUP_FIELDS)?,
        }
    }
    Ok((shared.unwrap_or(Wire::new(&[], true)), schema_url))
}

/// Calls `visit` with the address and the message of each field 2, the list of scopes or of records in all signals.
#[inline]
pub(super) fn each<'a>(
    mut group: Wire<'a>,
    mut visit: impl FnMut(usize, Wire<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    loop {
        let at = group.address();
        match group.key()? {
            None => return Ok(()),
            Some(LEN_2) => visit(at, group.message()?)?,
            Some(key) => group.skip_value(key, 0)?,
        }
    }
}

fn present(text: &[u8]) -> Option<&[u8]> {
    (!text.is_empty()).then_some(text)
}

fn put(
    table: &Table,
    arrays: &mut [Option<ArrayRef>],
    name: &str,
    array: impl FnOnce(&arrow::datatypes::DataType) -> Result<ArrayRef, ArrowError>,
) -> Result<(), ArrowError> {
    let index = table.index_of(name);
    arrays[index] = Some(array(table.schema.field(index).data_type())?);
    Ok(())
}

/// Makes columns of values that are the same for runs of rows.
struct Repeat<'a> {
    table: &'a Table,
    zeros: &'a Zeros,
    rows: usize,
}

impl Repeat<'_> {
    fn text_array<'v>(
        &self,
        runs: impl Iterator<Item = (Option<&'v [u8]>, usize)> + Clone,
    ) -> Result<ArrayRef, ArrowError> {
        let (mut column, mut row) = (Text::default(), 0);
        let bytes = runs.clone().map(|(value, rows)| value.map_or(0, |value| value.len() * rows)).sum();
        if bytes > 0 {
            column.reserve(self.rows, bytes);
        }
        for (value, rows) in runs {
            if let Some(value) = value {
                column.repeat(row, value, rows);
            }
            row += rows;
        }
        column.finish(self.rows, &arrow::datatypes::DataType::Utf8, self.zeros)
    }

    fn int_array(
        &self,
        nullable: bool,
        runs: impl Iterator<Item = (Option<i64>, usize)>,
    ) -> Result<ArrayRef, ArrowError> {
        let mut column: Numbers<Int64Type> = if nullable { Numbers::nullable() } else { Numbers::or_zero() };
        let mut row = 0;
        for (value, rows) in runs {
            if let Some(value) = value {
                (row..row + rows).for_each(|row| column.put(row, value));
            }
            row += rows;
        }
        column.finish(self.rows, &Int64Type::DATA_TYPE, self.zeros)
    }

    fn text<'v>(
        &self,
        arrays: &mut [Option<ArrayRef>],
        name: &str,
        runs: impl Iterator<Item = (Option<&'v [u8]>, usize)> + Clone,
    ) -> Result<(), ArrowError> {
        put(self.table, arrays, name, |_| self.text_array(runs))
    }

    fn count<'v>(
        &self,
        arrays: &mut [Option<ArrayRef>],
        name: &str,
        runs: impl Iterator<Item = (&'v Shared, usize)>,
    ) -> Result<(), ArrowError> {
        let counts = runs.map(|(shared, rows)| (Some(shared.dropped_attributes).filter(|&n| n != 0), rows));
        put(self.table, arrays, name, |_| self.int_array(false, counts))
    }

    fn attributes<'v, I: Iterator<Item = (&'v Shared, usize)> + Clone>(
        &self,
        arrays: &mut [Option<ArrayRef>],
        scope: Scope,
        signal: Signal,
        runs: impl Fn() -> I,
    ) -> Result<(), ArrowError> {
        for (i, (index, promoted)) in Keys::of(signal, scope).promoted.iter().enumerate() {
            let values = runs().map(|(shared, rows)| (shared.promoted[i].as_ref(), rows));
            arrays[*index] = Some(match promoted.value_type {
                ValueType::Int => {
                    self.int_array(true, values.map(|(value, rows)| (value.and_then(Value::int), rows)))?
                }
                _ => self.text_array(values.map(|(value, rows)| (value.and_then(Value::text), rows)))?,
            });
        }
        for (name, select) in
            [(scope.other_name(), (|maps| &maps.values) as fn(&Maps) -> &Map), (scope.types_name(), |maps| &maps.types)]
        {
            let (mut column, mut row) = (Map::default(), 0);
            column.reserve(self.rows, runs().map(|(shared, rows)| (select(&shared.maps), rows)));
            for (shared, rows) in runs() {
                column.repeat(row, select(&shared.maps), rows);
                row += rows;
            }
            put(self.table, arrays, name, |data_type| column.finish(self.rows, data_type, self.zeros))?;
        }
        Ok(())
    }
}
