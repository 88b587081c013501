//! What is counted of the hours of spans beforehand, so that the graph and its tables need not read them again: hour by
//! hour in the background, minute by minute within, kept beside the catalog. A cache with a rule of validity
//! ([`plan`]): what it answers is what the spans would, and where it does not hold the spans do.

mod build;
mod codec;
mod hours;
mod keeper;
mod plan;
mod rows;
mod table_rows;
mod tables;

pub use hours::Hour;
pub use keeper::{Rolled, RollupConfig, RollupCounters, RollupKeeper};
pub(crate) use plan::{Plan, State, Used, plan};
pub(crate) use rows::{GraphRows, KNOWN_PART, MINUTE_NS, OperationRows, Translation};
pub(crate) use table_rows::enters;
pub(crate) use tables::{Derived, DerivedTable};
