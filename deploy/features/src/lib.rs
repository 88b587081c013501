//! Pins the features of dependencies, so that every selection of crates builds them alike. Holds no code.
