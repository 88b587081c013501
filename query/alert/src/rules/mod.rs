//! Rule files: from text to rules whose queries are planned. Evaluates nothing.

pub mod check;
pub mod duration;
pub mod fields;
pub mod file;
pub mod find;
pub mod yaml;

pub use check::{Checked, Shape};
pub use file::{Group, Rule, RuleFile};
pub use find::Patterns;
pub use yaml::{Fault, Position};
