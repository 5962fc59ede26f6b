//! TLS with certificates made here.

use crate::common::{Caller, PROGRAM, Server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client, StatusCode};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes a certificate for loopback into a directory.
    fn issue(&self, dir: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        std::fs::write(dir.join("chain.pem"), certificate.pem()).unwrap();
        std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
    }

    fn client(&self) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = Certificate::from_pem(self.0.pem().as_bytes()).unwrap();
        Client::builder()
            .no_proxy()
            .tls_certs_only([root])
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap()
    }
}

fn start(authority: &Authority) -> Server {
    let dir = tempfile::tempdir().unwrap();
    authority.issue(dir.path());
    let (chain, key) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
    let options = ["--tls-cert", chain.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    Server::start_with(dir.into(), "127.0.0.1:0", &options, "")
}

#[tokio::test]
async fn a_host_joins_over_tls_with_http2() {
    let authority = Authority::new();
    let server = start(&authority);
    assert!(server.url.starts_with("https://"));
    let mut host = Caller::new(&server);
    host.http = authority.client();
    assert_eq!(host.join(&server.join_token(&[]), "db-1").await.unwrap(), StatusCode::CREATED);
    host.authenticate().await.unwrap();
    let response = host.http.get(format!("{}/readyz", server.url)).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert!(Authority::new().client().get(&server.url).send().await.is_err(), "another authority");
}

#[tokio::test]
async fn a_new_certificate_is_taken_on_sighup_and_a_bad_one_is_not() {
    let old = Authority::new();
    let mut server = start(&old);
    let url = format!("{}/healthz", server.url);
    let new = Authority::new();
    new.issue(server.dir());
    assert!(old.client().get(&url).send().await.is_ok());
    server.signal("-HUP");
    server.wait_for_log("the certificate has been read again");
    assert!(new.client().get(&url).send().await.is_ok());
    assert!(old.client().get(&url).send().await.is_err());

    std::fs::write(server.dir().join("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    server.signal("-HUP");
    server.wait_for_log("the certificate stays as it was");
    assert!(new.client().get(&url).send().await.is_ok());
}

#[test]
fn bad_certificate_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    Authority::new().issue(dir.path());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("empty.pem"), "").unwrap();
    std::fs::write(path("other.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    for (chain, key, named) in [
        ("none.pem", "key.pem", "none.pem"),
        ("empty.pem", "key.pem", "empty.pem"),
        ("chain.pem", "empty.pem", "empty.pem"),
        ("chain.pem", "other.pem", "chain.pem"),
    ] {
        let output = Command::new(PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0", "--database", &path("a.db")])
            .args(["--tls-cert", &path(chain), "--tls-key", &path(key)])
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{error}");
        assert!(error.contains(named) && error.trim_end().lines().count() == 1, "{error}");
    }
}
