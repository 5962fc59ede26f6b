//! The web app for hosting elsewhere: the same files, told which server to call, and how to serve
//! them.

use super::headers::{HSTS, PAGE};
use super::{FILES, PAIR};
use axum::http::header;
use countersign_files::{FileFault, Links, open_regular};
use countersign_protocol::digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Where the page takes the name of its server.
const MARK: &str = "<!-- server -->";
/// What was written, so that the next export knows its own files.
const MANIFEST: &str = "countersign-export.json";
/// How to serve it.
const HEADERS: &str = "headers.txt";
/// Longest list of what was written.
const MAX_MANIFEST: u64 = 1024 * 1024;

/// Why nothing, or not everything, was written; in one plain line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error("{0} is not what an earlier export wrote: move it away, or choose another directory")]
    Foreign(PathBuf),
    #[error(
        "{0} is not readable as the list of an earlier export ({1}): remove it, or choose another directory"
    )]
    Manifest(PathBuf, String),
    #[error(
        "the app's page has no place for the server's name, or is not on its list: this is a fault of the build"
    )]
    Page,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    server: String,
    /// SHA-256 by relative path.
    files: BTreeMap<String, String>,
}

type Files = BTreeMap<String, Cow<'static, [u8]>>;

/// Writes the app for `server` into `dir`, and removes what an earlier export wrote and the app no
/// longer has. Files of others stay as they are.
pub(crate) fn export(dir: &Path, server: &str) -> Result<usize, ExportError> {
    fs::create_dir_all(dir).map_err(at(dir))?;
    let root = fs::canonicalize(dir).map_err(at(dir))?;
    let files = files(server, &root)?;
    let old = earlier(&root)?;
    for (name, content) in &files {
        let path = root.join(name);
        let Some(there) = read(&path)? else { continue };
        if there != **content && old.files.get(name) != Some(&hash(&there)) {
            return Err(ExportError::Foreign(path));
        }
    }
    for (name, content) in &files {
        let path = root.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        fs::write(&path, content).map_err(at(&path))?;
    }
    for (name, known) in old.files.iter().filter(|(name, _)| !files.contains_key(*name)) {
        let path = root.join(name);
        if read(&path)?.is_some_and(|there| hash(&there) == *known) {
            fs::remove_file(&path).map_err(at(&path))?;
        }
    }
    let hashes = files.iter().map(|(name, content)| (name.clone(), hash(content))).collect();
    let manifest = Manifest { server: server.to_owned(), files: hashes };
    let path = root.join(MANIFEST);
    let text = serde_json::to_string_pretty(&manifest).map_err(|error| at(&path)(error.into()))?;
    fs::write(&path, text + "\n").map_err(at(&path))?;
    Ok(files.len())
}

/// What there is to write.
fn files(server: &str, root: &Path) -> Result<Files, ExportError> {
    let mut files = Files::new();
    let plain = |path| super::find(path).map(|file| file.plain).ok_or(ExportError::Page);
    let page = page(plain("/")?, server)?;
    for file in FILES {
        let (name, content) = match file.path {
            "/" => ("index.html", page.clone()),
            "/app-files.json" => ("app-files.json", list(file.plain, &page, server)?),
            path => (path.trim_start_matches('/'), Cow::Borrowed(file.plain)),
        };
        files.insert(name.to_owned(), content);
    }
    files.insert(HEADERS.to_owned(), Cow::Owned(recipes(server, root).into_bytes()));
    Ok(files)
}

fn page(plain: &[u8], server: &str) -> Result<Cow<'static, [u8]>, ExportError> {
    let text = std::str::from_utf8(plain).ok().filter(|text| text.contains(MARK)).ok_or(ExportError::Page)?;
    let told = format!("<meta name=\"countersign-server\" content=\"{server}\">");
    Ok(Cow::Owned(text.replacen(MARK, &told, 1).into_bytes()))
}

/// What the service worker learns from; as `build.rs` writes it.
#[derive(Serialize, Deserialize)]
struct List {
    version: String,
    /// By path the first bytes of the file's SHA-256 in hex.
    files: BTreeMap<String, String>,
    later: BTreeMap<String, String>,
}

/// The page of another server is another version, or browsers would keep the page that they have.
fn list(plain: &[u8], page: &[u8], server: &str) -> Result<Cow<'static, [u8]>, ExportError> {
    let mut list: List = serde_json::from_slice(plain).map_err(|_| ExportError::Page)?;
    let known = list.files.get_mut("/").ok_or(ExportError::Page)?;
    *known = hash(page).chars().take(known.len()).collect();
    let version = hash(format!("{} {server}", list.version).as_bytes());
    list.version = version.chars().take(list.version.len()).collect();
    let text = serde_json::to_vec(&list).map_err(|_| ExportError::Page)?;
    Ok(Cow::Owned(text))
}

/// Sites for Caddy and nginx that serve it as this server would.
fn recipes(server: &str, root: &Path) -> String {
    let own = "connect-src 'self'";
    let policy = |value: &str| value.replacen(own, &format!("{own} {server}"), 1);
    let headers: Vec<_> = PAGE
        .iter()
        .map(|(name, value)| (name.as_str(), policy(value)))
        .chain([
            (header::STRICT_TRANSPORT_SECURITY.as_str(), HSTS.to_owned()),
            (header::CACHE_CONTROL.as_str(), "no-cache".to_owned()),
        ])
        .collect();
    let list = |before: &str, after: &str| {
        headers.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = writeln!(text, "{before}{name} \"{value}\"{after}");
            text
        })
    };
    let root = root.display();
    format!(
        "How to serve this directory, with approve.example.com for the app's own name. On the server:\n\
         app_origins = [\"https://approve.example.com\"]\n\n\
         # Caddy\n\
         approve.example.com {{\n\troot * \"{root}\"\n\trewrite {PAIR} /index.html\n\theader {{\n{caddy}\t}}\n\
         \theader /app.webmanifest Content-Type application/manifest+json\n\
         \tencode gzip\n\tfile_server\n}}\n\n\
         # nginx, with the certificate as for any site\n\
         server {{\n\tlisten 443 ssl http2;\n\tlisten [::]:443 ssl http2;\n\tserver_name approve.example.com;\n\
         \tssl_certificate /etc/ssl/approve.example.com.pem;\n\tssl_certificate_key /etc/ssl/approve.example.com.key;\n\
         \troot \"{root}\";\n{nginx}\
         \tgzip on;\n\tgzip_types text/css application/javascript application/json image/svg+xml;\n\
         \tlocation = {PAIR} {{ try_files /index.html =404; default_type text/html; }}\n\
         \tlocation = /app.webmanifest {{ default_type application/manifest+json; }}\n}}\n",
        caddy = list("\t\t", ""),
        nginx = list("\tadd_header ", " always;"),
    )
}

/// What an earlier export wrote; only plain paths inside the directory are believed.
fn earlier(root: &Path) -> Result<Manifest, ExportError> {
    let path = root.join(MANIFEST);
    let Some(text) = read(&path)? else { return Ok(Manifest::default()) };
    let mut manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| ExportError::Manifest(path, error.to_string()))?;
    let inside = |name: &str| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    manifest.files.retain(|name, _| inside(name));
    Ok(manifest)
}

/// A file's content; what is longer than anything of ours is cut, so it compares as foreign.
fn read(path: &Path) -> Result<Option<Vec<u8>>, ExportError> {
    let file = match open_regular(path, Links::Followed, fs::OpenOptions::new().read(true)) {
        Ok(file) => file,
        Err(FileFault::Missing) => return Ok(None),
        Err(fault) => return Err(at(path)(io::Error::other(fault))),
    };
    let mut content = Vec::new();
    file.take(MAX_MANIFEST).read_to_end(&mut content).map_err(at(path))?;
    Ok(Some(content))
}

fn hash(content: &[u8]) -> String {
    digest::hex(&Sha256::digest(content))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ExportError + use<'_> {
    move |error| ExportError::File(path.to_owned(), error)
}
