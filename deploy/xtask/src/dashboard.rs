//! Builds the dashboard: wasm in a target folder of its own, bound to JavaScript by `wasm-bindgen-cli-support` as a
//! library, styles joined, everything precompressed into `ui/dist`, which the binary embeds. Never touches the native
//! target folder's profile, and leaves files that did not change alone, so that nothing is linked anew for them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use wasm_bindgen_cli_support::Bindgen;

use crate::process::{cargo, on_path, output, run};
use crate::{root, target_dir};

/// What a browser downloads before it shows anything, at most: the wasm by brotli, in bytes.
const MOST_WASM: u64 = 600_000;
/// What gains nothing from being compressed again.
const COMPRESSED: [&str; 4] = ["woff2", "png", "gz", "br"];

pub fn build() -> Result<()> {
    let wasm = compile()?;
    let mut dist = Dist { dir: root().join("ui/dist"), kept: BTreeSet::new() };
    bind(&wasm, &mut dist)?;
    let ui = root().join("ui");
    dist.put("index.html", &read(&ui.join("index.html"))?)?;
    dist.put("assets/style.css", &styles(&ui.join("style"))?)?;
    for (folder, to) in [("assets", "assets"), ("fonts", "assets/fonts"), ("icons", "assets/icons")] {
        for path in files_of(&ui.join(folder))? {
            let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
            dist.put(&format!("{to}/{name}"), &read(&path)?)?;
        }
    }
    dist.sweep()
}

/// Compiles the ui crate and returns the path of its wasm.
fn compile() -> Result<PathBuf> {
    ensure_wasm_target()?;
    let target = target_dir().join("wasm");
    let mut command = cargo();
    command
        .args(["build", "--package", "orrery-ui", "--lib", "--profile", "wasm", "--target", "wasm32-unknown-unknown"])
        .arg("--target-dir")
        .arg(&target);
    run("building the dashboard", &mut command)?;
    Ok(target.join("wasm32-unknown-unknown/wasm/orrery_ui.wasm"))
}

fn ensure_wasm_target() -> Result<()> {
    let sysroot =
        output("rustc", std::process::Command::new("rustc").args(["--print", "sysroot"]).current_dir(root()))?;
    if Path::new(sysroot.trim()).join("lib/rustlib/wasm32-unknown-unknown/lib").is_dir() {
        return Ok(());
    }
    ensure!(
        on_path("rustup"),
        "the wasm32-unknown-unknown target of Rust is missing and so is rustup, which would add it; install Rust's \
         standard library for wasm32-unknown-unknown"
    );
    run(
        "adding the wasm target",
        std::process::Command::new("rustup").args(["target", "add", "wasm32-unknown-unknown"]),
    )
}

fn bind(wasm: &Path, dist: &mut Dist) -> Result<()> {
    let bound = target_dir().join("wasm/bound");
    if bound.exists() {
        fs::remove_dir_all(&bound)?;
    }
    Bindgen::new()
        .input_path(wasm)
        .out_name("orrery")
        .web(true)?
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(&bound)
        .context("wasm-bindgen")?;
    dist.put_tree(&bound, "assets")
}

/// All style sheets in the order of their names, joined.
fn styles(dir: &Path) -> Result<Vec<u8>> {
    let mut joined = Vec::new();
    for path in files_of(dir)?.into_iter().filter(|path| path.extension().is_some_and(|e| e == "css")) {
        joined.extend(read(&path)?);
        joined.push(b'\n');
    }
    Ok(joined)
}

/// `ui/dist` while it is filled.
struct Dist {
    dir: PathBuf,
    /// What belongs there; the rest is swept.
    kept: BTreeSet<PathBuf>,
}

impl Dist {
    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let changed = self.write(name, bytes)?;
        let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default();
        if COMPRESSED.contains(&extension) {
            return Ok(());
        }
        for (suffix, compress) in [("gz", gzip as fn(&[u8]) -> Result<Vec<u8>>), ("br", brotli)] {
            let packed = format!("{name}.{suffix}");
            if changed || !self.dir.join(&packed).exists() {
                self.write(&packed, &compress(bytes)?)?;
            } else {
                self.kept.insert(self.dir.join(packed));
            }
        }
        Ok(())
    }

    fn put_tree(&mut self, from: &Path, to: &str) -> Result<()> {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let name = format!("{to}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.put_tree(&entry.path(), &name)?;
            } else {
                self.put(&name, &read(&entry.path())?)?;
            }
        }
        Ok(())
    }

    /// Writes unless the file already holds these bytes; returns whether it did.
    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<bool> {
        let path = self.dir.join(name);
        let changed = fs::read(&path).map_or(true, |old| old != bytes);
        if changed {
            fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
            fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
        }
        self.kept.insert(path);
        Ok(changed)
    }

    /// Removes what an earlier build left, and says what there is.
    fn sweep(self) -> Result<()> {
        for path in walk(&self.dir)? {
            if !self.kept.contains(&path) && path.file_name().is_none_or(|name| name != ".gitignore") {
                fs::remove_file(&path)?;
            }
        }
        let size = |name: &str| fs::metadata(self.dir.join(name)).map_or(0, |meta| meta.len());
        eprintln!(
            "dashboard: {} files in ui/dist; wasm {} bytes, {} by gzip, {} by brotli",
            self.kept.len(),
            size("assets/orrery_bg.wasm"),
            size("assets/orrery_bg.wasm.gz"),
            size("assets/orrery_bg.wasm.br"),
        );
        let packed = size("assets/orrery_bg.wasm.br");
        ensure!(
            packed <= MOST_WASM,
            "the dashboard's wasm has {packed} bytes by brotli, more than its budget of {MOST_WASM}"
        );
        Ok(())
    }
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn brotli(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut packed = Vec::new();
    // Quality 9 packs within two per cent of 11 in a fraction of its time.
    let params = brotli::enc::BrotliEncoderParams { quality: 9, lgwin: 22, ..Default::default() };
    brotli::BrotliCompress(&mut &bytes[..], &mut packed, &params)?;
    Ok(packed)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// The files right in a folder, by name; none where the folder is missing.
fn files_of(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// All files below a folder.
fn walk(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(walk(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}
