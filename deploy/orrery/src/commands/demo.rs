//! `orrery demo`: serve, with the shop beside it.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::cli::DemoFlags;
use crate::demo;

pub fn run(flags: &DemoFlags) -> Result<ExitCode> {
    ensure!(flags.rate > 0.0 && flags.rate <= 1000.0, "--rate must be above 0 and at most 1000");
    let rate = flags.rate;
    super::serve::serve(&flags.server, move |addresses| demo::run(addresses.url(addresses.otlp_grpc), rate))
}
