//! The engine's tests in one program, since each links DataFusion.

#[path = "../fixture/mod.rs"]
mod fixture;

mod answers;
mod elsewhere;
mod files;
mod golden;
mod learned;
mod limits;
mod parameters;
mod sandbox;
mod speed;
mod words;
