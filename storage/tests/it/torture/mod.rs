//! How much the tests of durability do: a sample that fits into every run of the tests or, with `ORRERY_TORTURE=full`, all
//! of it. Seeds are random, printed, and taken from `ORRERY_SEED`. Never decides what a test does.
#![allow(dead_code, reason = "each crate uses a part of it")]

use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::Instant;

/// One part of `cargo xtask torture`.
pub struct Torture {
    name: &'static str,
    full: bool,
    seed: u64,
    started: Instant,
}

impl Torture {
    /// `name` is what the part is called in `cargo xtask torture --only`.
    pub fn start(name: &'static str) -> Self {
        let full = match std::env::var("ORRERY_TORTURE").as_deref() {
            Err(_) | Ok("sample" | "") => false,
            Ok("full") => true,
            Ok(other) => panic!("ORRERY_TORTURE is full or sample, not {other:?}"),
        };
        let seed = match std::env::var("ORRERY_SEED") {
            Ok(seed) => seed.parse().unwrap_or_else(|_| panic!("ORRERY_SEED is a number, not {seed:?}")),
            Err(_) => RandomState::new().hash_one(name) & 0xFFFF_FFFF,
        };
        let this = Self { name, full, seed, started: Instant::now() };
        println!("torture {name}: seed {seed}; the same again: {}", this.command());
        this
    }

    /// Goes on where a part is split into several tests, without a line of its own.
    pub fn command(&self) -> String {
        let sample = if self.full { "" } else { " --sample" };
        format!("cargo xtask torture{sample} --seed {} --only {}", self.seed, self.name)
    }

    pub fn is_full(&self) -> bool {
        self.full
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many, in the sample and at full size.
    pub fn size(&self, sample: usize, full: usize) -> usize {
        if self.full { full } else { sample }
    }

    /// Numbers that depend on the seed and on what they are for.
    pub fn random(&self, purpose: u64) -> Random {
        Random(self.seed ^ purpose.wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    /// Says now and then how far it is, of what takes long.
    pub fn after(&self, done: usize, all: usize) {
        if self.full && done > 0 && done.is_multiple_of(100) {
            eprintln!("{}: {done} of {all} after {:.0} s", self.name, self.started.elapsed().as_secs_f64());
        }
    }

    /// Says what was done.
    pub fn done(self, what: impl Display) {
        println!("torture {}: {what} ({:.1} s)", self.name, self.started.elapsed().as_secs_f64());
    }

    /// Says aloud that nothing was done.
    pub fn skipped(self, why: impl Display) {
        eprintln!("SKIPPED: torture {}: {why}", self.name);
        println!("torture {}: SKIPPED, {why}", self.name);
    }
}

/// splitmix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }
}

/// A folder in memory where there is one: for tests that simulate what a disk does, so that no real one slows them down.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}
