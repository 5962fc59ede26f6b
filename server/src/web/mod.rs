//! The web app, as `build.rs` put it into the binary.

mod encoding;
pub(crate) mod export;
pub(crate) mod headers;
/// Of the build script; its tests run here.
#[cfg(test)]
#[path = "../../build/lean.rs"]
mod lean;

use crate::app::Shared;
use crate::extract::Address;
use crate::problem::Fault;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use encoding::Encoding;

/// One file of the app.
pub(crate) struct File {
    /// As in a URL; `/` is the page.
    pub(crate) path: &'static str,
    kind: &'static str,
    /// Weak, because it names the content in all its forms.
    etag: &'static str,
    pub(crate) plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// All files, sorted by path.
pub(crate) static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/app.rs"));
/// Where a pairing link leads; the page itself reads the rest of it.
pub(crate) const PAIR: &str = "/pair";
/// By which the app's files are counted together.
pub(crate) const ROUTE: &str = "app";

/// A mark on answers that hold the app, so that they get the headers of a page.
#[derive(Clone, Copy)]
pub(crate) struct Page;

fn find(path: &str) -> Option<&'static File> {
    let path = if path == PAIR { "/" } else { path };
    FILES.binary_search_by(|file| file.path.cmp(path)).ok().and_then(|index| FILES.get(index))
}

/// Answers what no route of the API does.
pub(crate) async fn answer(State(app): State<Shared>, address: Address, request: Request) -> Response {
    let Some(file) = find(request.uri().path()) else { return nothing_here(request.headers()) };
    if let Err(wait) = app.limits.file(address.0) {
        let fault = Fault::limit("too many files for this address; wait as long as Retry-After says", wait);
        return fault.into_response();
    }
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => file.answer(request.headers()),
        _ => {
            let fault =
                Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this is a file; it takes GET and HEAD");
            ([(header::ALLOW, HeaderValue::from_static("GET, HEAD"))], fault).into_response()
        }
    };
    response.extensions_mut().insert(Page);
    response
}

/// A person who mistyped gets a plain line, a program a problem.
fn nothing_here(headers: &HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("text/html") {
        let text = "There is nothing at this address. Countersign's approver is at / on this server.\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    }
    Fault::nothing_here().into_response()
}

impl File {
    fn answer(&self, request: &HeaderMap) -> Response {
        // The service worker keeps the app; what it asks for again must be what is current.
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::ETAG, HeaderValue::from_static(self.etag));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if self.is_known(request) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        let (content, encoding) = match encoding::choose(request, self.brotli.is_some(), self.gzip.is_some())
        {
            Encoding::Brotli => (self.brotli, Some("br")),
            Encoding::Gzip => (self.gzip, Some("gzip")),
            Encoding::Plain => (None, None),
        };
        if let Some(encoding) = encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        (headers, Body::from(Bytes::from_static(content.unwrap_or(self.plain)))).into_response()
    }

    /// Whether the client holds this content already.
    fn is_known(&self, request: &HeaderMap) -> bool {
        let strong = |etag: &str| etag.trim().trim_start_matches("W/").to_owned();
        request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|etag| etag.trim() == "*" || strong(etag) == strong(self.etag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn text(path: &str) -> &'static str {
        let file = find(path).unwrap_or_else(|| panic!("{path} is not embedded"));
        std::str::from_utf8(file.plain).unwrap()
    }

    #[test]
    fn files_are_found_by_their_path() {
        assert!(FILES.is_sorted_by_key(|file| file.path));
        for file in FILES {
            assert!(std::ptr::eq(find(file.path).unwrap(), file), "{}", file.path);
        }
        assert!(std::ptr::eq(find("/pair").unwrap(), find("/").unwrap()));
        for none in ["", "/index.html", "/js", "/tests", "/tsconfig.json", "/../Cargo.toml", "/pair/"] {
            assert!(find(none).is_none(), "{none}");
        }
    }

    #[test]
    fn the_list_for_the_cache_names_what_is_there() {
        let list: Value = serde_json::from_str(text("/app-files.json")).unwrap();
        assert_eq!(list["version"].as_str().unwrap().len(), 16);
        let files = list["files"].as_object().unwrap();
        assert!(files.contains_key("/"));
        for file in files.keys() {
            assert!(find(file).is_some(), "{file}");
        }
        for never in ["/sw.js", "/app-files.json", "/pair"] {
            assert!(!files.contains_key(never), "{never}");
        }
    }

    /// What a module imports, apart from what its comments do for the types.
    fn imports(module: &str) -> Vec<String> {
        let code: String = module
            .split("/*")
            .enumerate()
            .map(
                |(index, part)| if index == 0 { part } else { part.split_once("*/").map_or("", |cut| cut.1) },
            )
            .collect();
        let marks = ["from '", "from \"", "import '", "import \"", "import('", "import(\""];
        code.lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .flat_map(|line| marks.map(|mark| (line, mark)))
            .filter_map(|(line, mark)| {
                let name = line.split_once(mark)?.1.split(['\'', '"']).next()?;
                name.starts_with('.').then(|| name.to_owned())
            })
            .collect()
    }

    #[test]
    fn every_module_that_is_imported_is_there() {
        let mut seen = 0;
        for file in FILES.iter().filter(|file| file.kind.starts_with("text/javascript")) {
            for import in imports(text(file.path)) {
                let mut path: Vec<_> = file.path.split('/').collect();
                path.pop();
                for part in import.split('/') {
                    match part {
                        "." => {}
                        ".." => drop(path.pop()),
                        part => path.push(part),
                    }
                }
                assert!(find(&path.join("/")).is_some(), "{} imports {import}", file.path);
                seen += 1;
            }
        }
        assert!(seen > 0);
    }

    #[test]
    fn the_page_has_the_place_for_an_exported_servers_name() {
        assert_eq!(text("/").matches("<!-- server -->").count(), 1);
    }
}
