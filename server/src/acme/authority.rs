//! Talking with the ACME server.

use super::AcmeError;
use super::resolver::Resolver;
use super::store::Store;
use crate::config::Acme;
use crate::pem;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{self, Request};
use countersign_protocol::text;
use instant_acme::{
    Account, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error as Fault, HttpClient,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Longest time to connect, and for one call.
const CONNECT: Duration = Duration::from_secs(10);
const CALL: Duration = Duration::from_secs(30);
/// Longest answer in bytes; a chain has some 5,000.
const MAX_ANSWER: usize = 256 * 1024;
/// Longest text of the authority that is shown.
const MAX_TEXT: usize = 400;
/// How long the authority may take to check the names, and to issue.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));

/// The authority, as the settings name it.
pub(super) struct Authority {
    directory: String,
    contact: Option<String>,
    domains: Vec<String>,
    http: Http,
    resolver: Arc<Resolver>,
}

/// Why there is no new certificate.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody was bothered: soon tried again.
    Unreachable(String),
    /// Authorities lock out who asks too often.
    Refused(String),
}

impl Failure {
    /// How long to wait when this is the nth failure in a row.
    pub(super) fn wait(&self, nth: u32) -> Duration {
        let (first, most) = match self {
            Self::Unreachable(_) => (Duration::from_secs(5), Duration::from_secs(600)),
            Self::Refused(_) => (Duration::from_secs(120), Duration::from_secs(6 * 3600)),
        };
        first.saturating_mul(1 << nth.min(16)).min(most)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreachable(why) | Self::Refused(why)) = self;
        f.write_str(&text::escape(text::clip(why, MAX_TEXT)))
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match &fault {
            Fault::Api(problem) => Self::Refused(format!("the ACME server says: {}", said(problem))),
            Fault::Timeout(_) => Self::Refused("the ACME server took too long".to_owned()),
            Fault::Json(_) => Self::Refused("what answers there is no ACME server".to_owned()),
            Fault::Other(cause) => match cause.downcast_ref::<reqwest::Error>() {
                Some(error) => {
                    Self::Unreachable(format!("the ACME server cannot be reached: {}", deepest(error)))
                }
                None => Self::Refused(cause.to_string()),
            },
            other => Self::Refused(other.to_string()),
        }
    }
}

fn said(problem: &Problem) -> String {
    let own = problem.detail.clone().or_else(|| problem.r#type.clone()).unwrap_or_else(|| "no".to_owned());
    problem.subproblems.iter().fold(own, |text, more| format!("{text}; {more}"))
}

/// The last cause says most: "connection refused" rather than "error sending request".
fn deepest(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

impl Authority {
    pub(super) fn new(acme: &Acme, resolver: Arc<Resolver>) -> Result<Self, AcmeError> {
        Ok(Self {
            directory: acme.directory.clone(),
            contact: acme.contact.clone(),
            domains: acme.domains.clone(),
            http: Http::new(acme.ca.as_deref())?,
            resolver,
        })
    }

    pub(super) fn directory(&self) -> &str {
        &self.directory
    }

    /// Gets a new certificate with a new key; both as PEM.
    pub(super) async fn order(&self, store: &Store) -> Result<Vec<u8>, Failure> {
        let account = self.account(store).await?;
        self.order_with(&account).await
    }

    /// The account, made at the first time, and again when the authority has forgotten it.
    async fn account(&self, store: &Store) -> Result<Account, Failure> {
        let builder = || Account::builder_with_http(Box::new(self.http.clone()));
        let kept = store.account().map_err(Failure::Refused)?;
        let credentials = kept.and_then(|json| match serde_json::from_slice(&json) {
            Ok(credentials) => Some(credentials),
            Err(_) => {
                tracing::warn!("{}: it is damaged; a new account is made", store.account_path());
                None
            }
        });
        if let Some(credentials) = credentials {
            let account = builder().from_credentials(credentials).await?;
            match account.update_contacts(&self.contacts()).await {
                Ok(()) => return Ok(account),
                Err(Fault::Api(problem)) if is_unknown_account(&problem) => store.forget_account(),
                Err(fault) => return Err(fault.into()),
            }
        }
        let new = NewAccount {
            contact: &self.contacts(),
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) = builder().create(&new, self.directory.clone(), None).await?;
        let json = serde_json::to_vec(&credentials).map_err(|error| Failure::Refused(error.to_string()))?;
        store.keep_account(&json).map_err(Failure::Refused)?;
        Ok(account)
    }

    fn contacts(&self) -> Vec<&str> {
        self.contact.iter().map(String::as_str).collect()
    }

    async fn order_with(&self, account: &Account) -> Result<Vec<u8>, Failure> {
        let names: Vec<_> = self.domains.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&names)).await?;
        self.prove(&mut order).await?;
        match order.poll_ready(&PATIENCE).await {
            Ok(OrderStatus::Ready) => {}
            // The order says that it failed, its parts say why.
            Ok(_) | Err(Fault::Api(_)) => return Err(refusal(&mut order).await),
            Err(fault) => return Err(fault.into()),
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        Ok((key + &chain).into_bytes())
    }

    /// Puts up what the authority wants to see for each name, and says that it may look.
    async fn prove(&self, order: &mut Order) -> Result<(), Failure> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let Identifier::Dns(name) = authorization.identifier().identifier.clone() else {
                return Err(Failure::Refused("the ACME server wants proof of what is no name".to_owned()));
            };
            let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
                return Err(Failure::Refused(format!(
                    "the ACME server does not check {name} by TLS-ALPN-01, the only way this server knows"
                )));
            };
            let proof = proof(&name, challenge.key_authorization().digest().as_ref())
                .map_err(|error| Failure::Refused(error.to_string()))?;
            self.resolver.prove(&name, proof);
            challenge.set_ready().await?;
        }
        Ok(())
    }
}

/// What the authority says about the names that it did not believe.
async fn refusal(order: &mut Order) -> Failure {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let Ok(mut authorization) = authorization else { break };
        if authorization.refresh().await.is_err() {
            break;
        }
        let name = authorization.identifier().to_string();
        reasons.extend(
            authorization
                .challenges
                .iter()
                .filter_map(|challenge| challenge.error.as_ref())
                .map(|problem| format!("{name}: {}", said(problem))),
        );
    }
    let reasons = if reasons.is_empty() { "no reason is given".to_owned() } else { reasons.join("; ") };
    Failure::Refused(format!(
        "the ACME server does not believe that the name leads here ({reasons}); it must reach this server at port 443"
    ))
}

fn is_unknown_account(problem: &Problem) -> bool {
    problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist")
}

/// A certificate that signs itself and holds the digest of what only the account's owner knows.
fn proof(name: &str, digest: &[u8]) -> Result<CertifiedKey, Box<dyn Error + Send + Sync>> {
    if digest.len() != 32 {
        return Err("a digest of 32 bytes is needed".into());
    }
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], ring::sign::any_ecdsa_type(&key)?))
}

/// Calls with bounds on time and size.
#[derive(Clone)]
struct Http(Client);

impl Http {
    /// Trusts what the system trusts, or the roots in a file and no others.
    fn new(roots: Option<&Path>) -> Result<Self, AcmeError> {
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .https_only(true)
            .connect_timeout(CONNECT)
            .timeout(CALL);
        if let Some(path) = roots {
            let at = |why: String| AcmeError::File(path.to_owned(), why);
            let roots = pem::read_roots(path).map_err(at)?;
            let roots = roots.iter().map(|root| Certificate::from_der(root)).collect::<Result<Vec<_>, _>>();
            builder = builder.tls_certs_only(roots.map_err(|error| at(error.to_string()))?);
        }
        let client = builder.build().map_err(|error| rustls::Error::General(deepest(&error)))?;
        Ok(Self(client))
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Fault>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let other = |error: reqwest::Error| Fault::Other(Box::new(error));
            let request = reqwest::Request::try_from(request.map(reqwest::Body::wrap)).map_err(other)?;
            let response = client.execute(request).await.map_err(other)?;
            let (parts, body) = http::Response::from(response).into_parts();
            let body = to_bytes(Body::new(body), MAX_ANSWER)
                .await
                .map_err(|error| Fault::Other(error.into_inner()))?;
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_be_reached_is_asked_again_soon_and_who_refused_is_not() {
        let away = Failure::Unreachable(String::new());
        let waits: Vec<_> = [0, 1, 2, 50].map(|nth| away.wait(nth).as_secs()).into();
        assert_eq!(waits, [5, 10, 20, 600]);
        let refused = Failure::Refused(String::new());
        // At most five failures an hour: beyond that, Let's Encrypt locks a name out.
        let waits: Vec<_> = (0..5).map(|nth| refused.wait(nth).as_secs()).collect();
        assert_eq!(waits, [120, 240, 480, 960, 1920]);
        assert!(waits.iter().sum::<u64>() > 3600);
        assert_eq!(refused.wait(50).as_secs(), 6 * 3600);
    }

    #[test]
    fn what_the_authority_says_is_one_inert_line() {
        let problem = Problem {
            r#type: None,
            detail: Some(format!("no\n\u{1b}[31m{}", "x".repeat(1000))),
            status: Some(400),
            subproblems: Vec::new(),
        };
        let line = Failure::from(Fault::Api(problem)).to_string();
        assert!(line.starts_with("the ACME server says: no"), "{line}");
        assert!(!line.contains(['\n', '\u{1b}']) && line.len() < 2 * MAX_TEXT, "{line}");
    }

    #[test]
    fn a_proof_names_what_is_checked_and_holds_the_digest() {
        use x509_cert::der::Decode;
        let proof = proof("push.example.com", &[7; 32]).unwrap();
        let certificate = x509_cert::Certificate::from_der(&proof.cert[0]).unwrap();
        let extensions = certificate.tbs_certificate().extensions().unwrap();
        let mark = extensions.iter().find(|e| e.extn_id.to_string() == "1.3.6.1.5.5.7.1.31").unwrap();
        assert!(mark.critical);
        assert_eq!(mark.extn_value.as_bytes(), [&[4, 32][..], &[7; 32]].concat());
        assert!(super::proof("push.example.com", b"short").is_err());
    }
}
