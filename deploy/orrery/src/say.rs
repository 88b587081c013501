//! What commands print on standard output. A reader who leaves early, as `| head` does, is no panic: the command goes on
//! in silence, and its exit code says that not all was read.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, Ordering};

/// The exit code of a program that SIGPIPE ends.
const READER_LEFT: u8 = 128 + 13;

/// 0 as long as all was written.
static FAILED: AtomicU8 = AtomicU8::new(0);

/// Prints a line, as `println!` does.
macro_rules! say {
    ($($text:tt)*) => { $crate::say::line(format_args!($($text)*)) };
}
pub(crate) use say;

pub(crate) fn line(text: Arguments<'_>) {
    if FAILED.load(Ordering::Relaxed) > 0 {
        return;
    }
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.write_all(b"\n")) {
        let left = error.kind() == ErrorKind::BrokenPipe;
        if !left {
            eprintln!("orrery: write to standard output: {error}");
        }
        FAILED.store(if left { READER_LEFT } else { 1 }, Ordering::Relaxed);
    }
}

/// The exit code of what could not be printed whole.
pub(crate) fn failure() -> Option<ExitCode> {
    match FAILED.load(Ordering::Relaxed) {
        0 => None,
        code => Some(code.into()),
    }
}
