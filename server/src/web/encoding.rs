//! In which form a file is sent.

use axum::http::{HeaderMap, header};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Brotli,
    Gzip,
    Plain,
}

/// The smallest form of those there are that the client takes.
pub(super) fn choose(headers: &HeaderMap, brotli: bool, gzip: bool) -> Encoding {
    if brotli && takes(headers, "br") {
        Encoding::Brotli
    } else if gzip && takes(headers, "gzip") {
        Encoding::Gzip
    } else {
        Encoding::Plain
    }
}

/// Whether `Accept-Encoding` names a coding without the quality 0, which forbids it.
fn takes(headers: &HeaderMap, coding: &str) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| {
            let (name, quality) = item.split_once(';').unwrap_or((item, ""));
            let quality = quality.trim().trim_start_matches("q=").parse().unwrap_or(1.0_f32);
            name.trim().eq_ignore_ascii_case(coding) && quality > 0.0
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_client_decides() {
        for (accept, brotli, gzip, chosen) in [
            ("gzip, deflate, br", true, true, Encoding::Brotli),
            ("gzip, deflate, br", false, true, Encoding::Gzip),
            ("gzip, deflate, br", false, false, Encoding::Plain),
            ("gzip", true, true, Encoding::Gzip),
            ("br;q=0, GZIP;q=0.5", true, true, Encoding::Gzip),
            ("br; q=0.000,gzip; q=0", true, true, Encoding::Plain),
            ("", true, true, Encoding::Plain),
            ("brotli", true, true, Encoding::Plain),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accept));
            assert_eq!(choose(&headers, brotli, gzip), chosen, "{accept}");
        }
        assert_eq!(choose(&HeaderMap::new(), true, true), Encoding::Plain);
    }
}
