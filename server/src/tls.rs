//! TLS from certificate files, which are read again on SIGHUP.

use crate::config::TlsFiles;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
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
    let at_certificate = |error: rustls::pki_types::pem::Error| TlsError::new(&files.certificate, error);
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .map_err(at_certificate)?
        .collect::<Result<_, _>>()
        .map_err(at_certificate)?;
    if chain.is_empty() {
        return Err(TlsError::new(&files.certificate, "no certificate is in it; PEM is expected"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| TlsError::new(&files.key, error))?;
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
