//! The engine and its API of SQL, asked as the server asks them.

mod answers;
mod elsewhere;
mod files;
mod golden;
mod learned;
mod limits;
mod newest;
mod parameters;
mod recent;
mod sandbox;
mod speed;
mod values;
mod words;
