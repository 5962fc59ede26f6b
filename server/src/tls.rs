//! TLS from certificate files, which are read again on SIGHUP.

use crate::config::TlsFiles;
use crate::pem;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::crypto::ring;
use std::path::Path;
use std::sync::Arc;

/// What is wrong with a certificate file, in one plain line.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {why}")]
pub(crate) struct TlsError {
    file: String,
    why: String,
}

impl TlsError {
    fn new(file: &Path, why: impl ToString) -> Self {
        Self { file: file.display().to_string(), why: why.to_string() }
    }
}

/// Reads the files.
pub(crate) fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = pem::read_chain(&files.certificate).map_err(|why| TlsError::new(&files.certificate, why))?;
    let key = pem::read_key(&files.key).map_err(|why| TlsError::new(&files.key, why))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(&files.certificate, error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::new(&files.certificate, format!("with its key: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Reads the files again; keeps what is good when they are not.
pub(crate) fn reload(config: &RustlsConfig, files: &TlsFiles) {
    match load(files) {
        Ok(new) => {
            config.reload_from_config(new);
            tracing::info!("the certificate has been read again");
        }
        Err(error) => tracing::error!("the certificate stays as it was: {error}"),
    }
}
