//! Cases of the rules.
