//! Puts the web app of `web/` into the binary: every file without its comments, plain and compressed, with a content
//! type and an ETag; and `/app-files.json`, from which the service worker learns what to keep.

#[path = "build/lean.rs"]
mod lean;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::{env, fs};

/// What of `web/` is for developers only. So is what begins with a dot, and by their endings notes and
/// declarations of types.
const NOT_SHIPPED: [&str; 6] =
    ["tests", "node_modules", "tsconfig.json", "package.json", "package-lock.json", "types.js"];
const NOT_SHIPPED_ENDINGS: [&str; 2] = [".md", ".ts"];
/// What the service worker does not keep: the browser keeps the worker itself.
const WORKER: &str = "/sw.js";
/// What the app is served with is kept together with it.
const HEADERS: &str = "src/web/headers.rs";
/// What it keeps once it is asked for: the languages beside the one that everything falls back to, and the icons
/// that only installing takes.
const LATER: [&str; 4] =
    ["/js/text/de.js", "/icons/apple-touch-icon.png", "/icons/icon-512.png", "/icons/maskable-512.png"];
/// Brotli's strongest setting, and its usual window.
const BROTLI_QUALITY: u32 = 11;
const BROTLI_WINDOW: u32 = 22;
const BUFFER: usize = 64 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=web");
    println!("cargo::rerun-if-changed={HEADERS}");
    let web = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("web");
    let out = env::var("OUT_DIR")?;
    let mut files = BTreeMap::new();
    collect(&web, "", &mut files)?;
    let list = app_files(&files, &fs::read(HEADERS)?);
    files.insert("/app-files.json".to_owned(), list);
    let mut table = "&[\n".to_owned();
    for (index, (path, content)) in files.iter().enumerate() {
        entry(&mut table, Path::new(&out), index, path, content)?;
    }
    table.push_str("]\n");
    fs::write(Path::new(&out).join("app.rs"), table)?;
    Ok(())
}

/// Reads the files of a directory by the paths under which they are served.
fn collect(dir: &Path, at: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| format!("{name:?}: not a plain name"))?;
        if name.starts_with('.')
            || NOT_SHIPPED.contains(&name.as_str())
            || NOT_SHIPPED_ENDINGS.iter().any(|ending| name.ends_with(ending))
        {
            continue;
        }
        let path = format!("{at}/{name}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &path, files)?;
        } else {
            let path = if path == "/index.html" { "/".to_owned() } else { path };
            let content = lean::lean(&path, fs::read(entry.path())?);
            files.insert(path, content);
        }
    }
    Ok(())
}

/// The app's version, which any change of any file and of the pages' headers changes, and what belongs into a
/// browser's cache, each with its hash.
fn app_files(files: &BTreeMap<String, Vec<u8>>, headers: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new_with_prefix(Sha256::digest(headers));
    for (path, content) in files {
        for part in [path.as_bytes(), content] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    let part = |is_later: bool| {
        let named: Vec<_> = files
            .iter()
            .filter(|(path, _)| *path != WORKER && !is_licence(path))
            .filter(|(path, _)| LATER.contains(&path.as_str()) == is_later)
            .map(|(path, content)| format!("{path:?}:\"{}\"", hex(&Sha256::digest(content))))
            .collect();
        named.join(",")
    };
    let (version, files, later) = (hex(&hash.finalize()), part(false), part(true));
    format!("{{\"version\":\"{version}\",\"files\":{{{files}}},\"later\":{{{later}}}}}\n").into_bytes()
}

/// Writes one file into the table, and its forms beside it.
fn entry(
    table: &mut String,
    out: &Path,
    index: usize,
    path: &str,
    content: &[u8],
) -> Result<(), Box<dyn Error>> {
    let (kind, compress) = kind(path).ok_or_else(|| {
        format!("server/web{path}: its content type is not known; name it in server/build.rs, or keep it out of web/")
    })?;
    let include = |name: String, content: &[u8]| -> Result<String, Box<dyn Error>> {
        fs::write(out.join(&name), content)?;
        Ok(format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}\"))"))
    };
    // What does not become smaller is sent as it is.
    let smaller = |packed: Vec<u8>| (compress && packed.len() < content.len()).then_some(packed);
    let form = |packed: Option<Vec<u8>>, suffix: &str| -> Result<String, Box<dyn Error>> {
        let Some(packed) = packed else { return Ok("None".to_owned()) };
        Ok(format!("Some({})", include(format!("{index}.{suffix}"), &packed)?))
    };
    let etag = hex(&Sha256::digest(content));
    let plain = include(format!("{index}.plain"), content)?;
    let brotli = form(smaller(brotli(content)?), "br")?;
    let gzip = form(smaller(gzip(content)?), "gz")?;
    writeln!(
        table,
        "File {{ path: {path:?}, kind: {kind:?}, etag: \"W/\\\"{etag}\\\"\", plain: {plain}, brotli: {brotli}, gzip: {gzip} }},",
    )?;
    Ok(())
}

/// The content type by the name, and whether compressing it is worth while.
fn kind(path: &str) -> Option<(&'static str, bool)> {
    if is_licence(path) {
        return Some(("text/plain; charset=utf-8", true));
    }
    let ending = if path == "/" { "html" } else { path.rsplit_once('.')?.1 };
    Some(match ending {
        "html" => ("text/html; charset=utf-8", true),
        "js" => ("text/javascript; charset=utf-8", true),
        "css" => ("text/css; charset=utf-8", true),
        "json" => ("application/json", true),
        "webmanifest" => ("application/manifest+json", true),
        "svg" => ("image/svg+xml", true),
        "png" => ("image/png", false),
        "ico" => ("image/x-icon", true),
        "woff2" => ("font/woff2", false),
        _ => return None,
    })
}

/// Licences of others' modules are served beside them.
fn is_licence(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with("LICENSE"))
}

fn brotli(content: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), BUFFER, BROTLI_QUALITY, BROTLI_WINDOW);
    encoder.write_all(content)?;
    encoder.flush()?;
    Ok(encoder.into_inner())
}

fn gzip(content: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    Ok(encoder.finish()?)
}

/// The first 8 bytes in hex: enough to tell versions apart.
fn hex(digest: &[u8]) -> String {
    digest.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
