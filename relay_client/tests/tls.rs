//! TLS, with a CA made in the test.

mod fake;

use axum_server::tls_rustls::RustlsConfig;
use countersign_protocol::keys::SigningKey;
use countersign_relay_client::{RelayClient, RelayError, Server};
use fake::{Fake, router};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::sync::Arc;
use std::sync::atomic::Ordering;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: Vec<u8>,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem().into_bytes();
    Authority { issuer: Issuer::new(params, key), pem }
}

/// Starts the server with a certificate for `name`; gives it and its port.
async fn start(authority: &Authority, name: &str) -> (Arc<Fake>, u16) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = RustlsConfig::from_pem(certificate.pem().into_bytes(), key.serialize_pem().into_bytes());
    let config = config.await.unwrap();
    let fake = Arc::new(Fake::default());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    *fake.origin.lock().unwrap() = format!("https://localhost:{port}");
    let server = axum_server::from_tcp_rustls(listener, config).unwrap();
    tokio::spawn(server.serve(router(fake.clone()).into_make_service()));
    (fake, port)
}

fn client(port: u16, ca: Option<&[u8]>) -> RelayClient {
    let server = Server { origin: format!("https://localhost:{port}"), ca_pem: ca.map(<[u8]>::to_vec) };
    RelayClient::new(server, Arc::new(SigningKey::generate())).unwrap()
}

#[tokio::test]
async fn the_configured_authority_is_trusted_and_http_2_is_spoken() {
    let authority = authority();
    let (fake, port) = start(&authority, "localhost").await;
    let client = client(port, Some(&authority.pem));
    client.directory().await.unwrap();
    assert_eq!(*fake.versions.lock().unwrap(), [axum::http::Version::HTTP_2]);
}

#[tokio::test]
async fn nobody_else_is() {
    let authority = authority();
    let (fake, port) = start(&authority, "localhost").await;
    let (_, elsewhere) = start(&authority, "other.example.com").await;
    let stranger = self::authority();
    let pem = Some(authority.pem.as_slice());
    for (port, ca) in [(port, None), (port, Some(stranger.pem.as_slice())), (elsewhere, pem)] {
        let refused = client(port, ca).directory().await.unwrap_err();
        assert!(matches!(refused, RelayError::Tls { .. }), "{refused:?}");
        assert!(refused.is_outage());
    }
    assert_eq!(fake.tokens.load(Ordering::SeqCst), 0);
    client(port, pem).directory().await.unwrap();
}
