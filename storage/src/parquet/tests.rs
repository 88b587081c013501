//! Tests of writing files.
