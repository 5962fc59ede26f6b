//! What browsers are told about the app, wherever it is served from.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// No browser goes back to plain HTTP for a year.
pub(crate) const HSTS: &str = "max-age=31536000";

const PERMISSIONS: &str = "camera=(self), accelerometer=(), autoplay=(), clipboard-read=(), \
     display-capture=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(), local-fonts=(), \
     magnetometer=(), microphone=(), midi=(), payment=(), serial=(), usb=(), xr-spatial-tracking=()";

/// The content security policy: nothing but the app's own files, and no string ever becomes code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     connect-src 'self'; manifest-src 'self'; worker-src 'self'; media-src blob:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types countersign";

/// Everything that an answer with a file of the app says beside HSTS.
pub(crate) static PAGE: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

pub(crate) fn add(headers: &mut HeaderMap) {
    for (name, value) in &PAGE {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
