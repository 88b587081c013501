//! Lists the built dashboard for embedding: one `include_bytes!` a file of `ui/dist`. Never builds it (that is
//! `cargo xtask dashboard`), and makes an empty list where it is not built.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let dist = manifest.join("../../ui/dist");
    println!("cargo::rerun-if-changed={}", dist.display());
    let mut files = Vec::new();
    if dist.is_dir() {
        walk(&dist, &mut files)?;
    }
    files.sort();
    let mut list = String::from("pub static FILES: &[File] = &[\n");
    for path in &files {
        let name = path.strip_prefix(&dist).expect("walked from there").to_string_lossy().replace('\\', "/");
        if !name.ends_with(".gz") && !name.ends_with(".br") && !name.ends_with(".gitignore") {
            entry(&mut list, path, &name)?;
        }
    }
    list.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("dashboard.rs");
    fs::write(out, list)
}

fn entry(list: &mut String, path: &Path, name: &str) -> io::Result<()> {
    let packed = |suffix: &str| {
        let path = PathBuf::from(format!("{}.{suffix}", path.display()));
        if path.is_file() { format!("Some(include_bytes!({path:?}))") } else { "None".to_owned() }
    };
    writeln!(
        list,
        "    File {{ path: {:?}, content_type: {:?}, etag: \"\\\"{:016x}\\\"\", plain: include_bytes!({path:?}), gzip: {}, brotli: {} }},",
        format!("/{name}"),
        content_type(name),
        fnv(&fs::read(path)?),
        packed("gz"),
        packed("br"),
    )
    .expect("a string takes any text");
    Ok(())
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "wasm" => "application/wasm",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        _ => "text/plain; charset=utf-8",
    }
}

/// FNV-1a over the content: an entity tag needs a difference, not a secret.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
