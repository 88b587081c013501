//! The HTTP API over real files and memory, asked as any client asks it.

mod alerts;
mod graph;
mod parts;
mod rollups;
mod shapes;
mod world;
