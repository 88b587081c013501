//! Where the tests find a real Alertmanager: on the PATH, or unpacked from Debian's package into the target folder. Never
//! installs it, since that would start a server.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::{on_path, run};
use crate::target_dir;

const NAMES: [&str; 2] = ["prometheus-alertmanager", "alertmanager"];
const PACKAGE: &str = "prometheus-alertmanager";

/// The path for the tests' `ALERTMANAGER`; `None` where they find it by themselves, or where there is none, which is said.
pub fn find() -> Option<PathBuf> {
    if std::env::var_os("ALERTMANAGER").is_some() || NAMES.into_iter().any(on_path) {
        return None;
    }
    unpacked().map_err(|error| eprintln!("the tests go without a real Alertmanager: {error:#}")).ok()
}

/// Starts what was unpacked where its templates seem installed: Debian's program reads them from `/usr/share` only.
const START: &str = r#"#!/bin/sh
exec unshare --map-root-user --mount sh -c '
mount -t overlay overlay -o "lowerdir=$0/usr/share:/usr/share" /usr/share && exec "$0/usr/bin/prometheus-alertmanager" "$@"
' "$(dirname "$(readlink -f "$0")")" "$@"
"#;

/// Fetches the package once; needs neither root nor an installed daemon.
fn unpacked() -> Result<PathBuf> {
    let folder = target_dir().join("alertmanager");
    let start = folder.join("start");
    if !start.is_file() {
        fetch(&folder)?;
        fs::write(&start, START)?;
        fs::set_permissions(&start, Permissions::from_mode(0o755))?;
    }
    run("Alertmanager", Command::new(&start).arg("--version"))
        .context("it does not start in a namespace of its own")?;
    Ok(start)
}

fn fetch(folder: &Path) -> Result<()> {
    let binary = folder.join("usr/bin").join(PACKAGE);
    if binary.is_file() {
        return Ok(());
    }
    ensure!(on_path("apt-get") && on_path("dpkg-deb"), "it is not on the PATH, and this is no Debian to fetch it from");
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    run("apt-get download", Command::new("apt-get").args(["download", "-q", PACKAGE]).current_dir(folder))?;
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let package = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).find(is_package);
    let package = package.context("apt-get download left no package")?;
    run("dpkg-deb", Command::new("dpkg-deb").arg("--extract").arg(package).arg(folder))?;
    ensure!(binary.is_file(), "the package holds no {PACKAGE}");
    Ok(())
}
