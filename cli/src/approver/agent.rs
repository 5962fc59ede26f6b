//! Signs with a key that ssh-agent holds (draft-ietf-sshm-ssh-agent): two calls, no more.

use crate::output::{Exit, Failure, Outcome};
use countersign_protocol::keys::{PublicKey, SignError, Signer};
use countersign_protocol::text::escape;
use std::io::{Error, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// Longest answer, as OpenSSH's own limit.
const MAX_ANSWER: usize = 256 * 1024;
/// Most keys that are looked at.
const MAX_KEYS: usize = 2048;
/// A key may want a passphrase, a yes or a touch first.
const PATIENCE: Duration = Duration::from_secs(60);

/// A key in an agent.
#[derive(Debug, Clone)]
pub struct AgentKey {
    socket: PathBuf,
    key: PublicKey,
}

impl AgentKey {
    /// Finds a key by `SHA256:…`, or by the file of its public half.
    ///
    /// # Errors
    /// When the agent cannot be asked, has no such key, or it is of a type that is not accepted.
    pub fn find(socket: &Path, wanted: &str) -> Outcome<Self> {
        let named = if wanted.starts_with("SHA256:") {
            None
        } else {
            let text = std::fs::read_to_string(wanted).map_err(|e| {
                Failure::new(
                    Exit::Usage,
                    format!("{}: {e}: give a SHA256:… fingerprint or a .pub file", escape(wanted)),
                )
            })?;
            let key = PublicKey::from_openssh(text.trim()).map_err(|e| Failure::broken(escape(wanted), e))?;
            Some(key.fingerprint())
        };
        let fingerprint = named.as_deref().unwrap_or(wanted);
        let key = identities(socket)?.into_iter().find(|k| k.fingerprint() == fingerprint).ok_or_else(|| {
            let text = format!(
                "ssh-agent has no usable key {} (ed25519 or ecdsa-p256): see ssh-add -l, add it with ssh-add",
                escape(fingerprint)
            );
            Failure::new(Exit::Refused, text)
        })?;
        Ok(Self { socket: socket.to_owned(), key })
    }

    /// The agent that the environment names.
    ///
    /// # Errors
    /// When it names none.
    pub fn socket() -> Outcome<PathBuf> {
        std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from).ok_or_else(|| {
            Failure::new(
                Exit::Unreachable,
                "no ssh-agent (SSH_AUTH_SOCK is not set): start one with eval $(ssh-agent)",
            )
        })
    }
}

impl Signer for AgentKey {
    fn public_key(&self) -> &PublicKey {
        &self.key
    }

    fn sign(&self, data: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut call = vec![SIGN_REQUEST];
        put_string(&mut call, self.key.blob());
        put_string(&mut call, data);
        call.extend_from_slice(&0u32.to_be_bytes());
        let failed = |e: Error| SignError(format!("ssh-agent: {e}"));
        let answer = exchange(&self.socket, &call).map_err(failed)?;
        let Some((&SIGN_RESPONSE, mut rest)) = answer.split_first() else {
            let key = self.key.fingerprint();
            return Err(SignError(format!("ssh-agent refused to sign with {key}: see ssh-add -l")));
        };
        let damaged = || SignError("ssh-agent's answer is damaged".into());
        let signature = take_string(&mut rest).ok_or_else(damaged)?.to_vec();
        // An agent that signs with something else is found out here, not by every host.
        self.key
            .verify(data, &signature)
            .map_err(|_| SignError("ssh-agent's signature is not valid".into()))?;
        Ok(signature)
    }
}

/// The keys of accepted types; others are passed over.
fn identities(socket: &Path) -> Outcome<Vec<PublicKey>> {
    let answer = exchange(socket, &[REQUEST_IDENTITIES]).map_err(|e| {
        Failure::new(Exit::Unreachable, format!("ssh-agent at {}: {e}", escape(&socket.to_string_lossy())))
    })?;
    let damaged = || Failure::new(Exit::Broken, "ssh-agent's list of keys is damaged");
    let Some((&IDENTITIES_ANSWER, mut rest)) = answer.split_first() else { return Err(damaged()) };
    let count = take_u32(&mut rest).ok_or_else(damaged)? as usize;
    let mut keys = Vec::new();
    for _ in 0..count.min(MAX_KEYS) {
        let blob = take_string(&mut rest).ok_or_else(damaged)?;
        let _comment = take_string(&mut rest).ok_or_else(damaged)?;
        keys.extend(PublicKey::from_blob(blob).ok());
    }
    Ok(keys)
}

/// One call on a connection of its own.
fn exchange(socket: &Path, call: &[u8]) -> Result<Vec<u8>, Error> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut frame = Vec::with_capacity(call.len() + 4);
    put_string(&mut frame, call);
    stream.write_all(&frame)?;
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len) as usize;
    if len == 0 || len > MAX_ANSWER {
        return Err(Error::new(ErrorKind::InvalidData, "an answer of a length that cannot be"));
    }
    let mut answer = vec![0; len];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    // What is sent is a key and a signed blob of a few hundred bytes.
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_be_bytes(*head))
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = take_u32(rest)? as usize;
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
