//! A connection to the daemon that speaks for a caller of the bus.

use super::fault::{BAD_CALL, BROKEN, Fault};
use countersign_protocol::frame::{self, Reply};
use countersign_protocol::manage::{Acting, Call};
use serde::{Serialize, de::DeserializeOwned};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// Longest time for an answer that needs nobody but the daemon and its server.
pub(super) const SHORT: Duration = Duration::from_secs(20);

/// One call is out at a time. Dropping it withdraws what is open.
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    /// What was read and is not yet a frame; may hold codes.
    pending: Zeroizing<Vec<u8>>,
}

impl Link {
    /// Connects as root, with root's rights.
    ///
    /// # Errors
    /// When the daemon does not listen.
    pub(super) async fn open(run: &Path) -> Result<Self, Fault> {
        let connected = timeout(SHORT, UnixStream::connect(run.join("pam.sock"))).await;
        let stream = connected.map_err(|_| Fault::down("no answer"))?.map_err(Fault::down)?;
        Ok(Self { stream, pending: Zeroizing::new(Vec::new()) })
    }

    /// Connects for a user: with that user's rights, or with root's once an administrator has authorized it.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub(super) async fn open_for(
        run: &Path,
        uid: u32,
        as_administrator: bool,
    ) -> Result<(Self, Acting), Fault> {
        let mut link = Self::open(run).await?;
        let acting: Acting = link.call(&Call::ActFor { uid, as_administrator }, SHORT).await?;
        // An older daemon would not know the call; but whose rights these are must never be in doubt.
        if acting.uid != uid {
            return Err(Fault::new(BROKEN, "countersignd answers for somebody else"));
        }
        Ok((link, acting))
    }

    /// Calls, and waits for the answer at most `wait`.
    ///
    /// # Errors
    /// What the daemon says, or that it does not answer.
    pub(super) async fn call<T: DeserializeOwned>(
        &mut self,
        call: &impl Serialize,
        wait: Duration,
    ) -> Result<T, Fault> {
        self.send(call).await?;
        self.answer(wait).await
    }

    /// Calls without waiting for an answer.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(super) async fn send(&mut self, call: &impl Serialize) -> Result<(), Fault> {
        let bytes =
            frame::encode(call).map_err(|error| Fault::new(BAD_CALL, format!("too long: {error}")))?;
        let bytes = Zeroizing::new(bytes);
        let sent = timeout(SHORT, self.stream.write_all(&bytes)).await;
        sent.map_err(|_| Fault::down("it takes nothing"))?.map_err(Fault::down)
    }

    /// The next answer; comes back after `wait` at the latest. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(super) async fn answer<T: DeserializeOwned>(&mut self, wait: Duration) -> Result<T, Fault> {
        let frame = timeout(wait, self.frame()).await.map_err(|_| Fault::down("no answer in time"))??;
        match frame::decode(&frame) {
            Ok(Reply::Parameters { parameters }) => Ok(parameters),
            Ok(Reply::Error { error, parameters }) => Err(Fault::of_daemon(&error, &parameters.message)),
            Err(error) => {
                let text =
                    format!("the daemon's answer is not understood ({error}): are both of the same version?");
                Err(Fault::new(BROKEN, text))
            }
        }
    }

    async fn frame(&mut self) -> Result<Zeroizing<Vec<u8>>, Fault> {
        loop {
            if let Some(at) = self.pending.iter().position(|byte| *byte == frame::END) {
                let rest = self.pending.split_off(at + 1);
                let mut bytes = std::mem::replace(&mut self.pending, Zeroizing::new(rest));
                bytes.pop();
                return Ok(bytes);
            }
            if self.pending.len() > frame::MAX_FRAME {
                return Err(Fault::new(BROKEN, "the daemon's answer is too long: see its log"));
            }
            let mut chunk = Zeroizing::new([0; 2048]);
            match self.stream.read(&mut chunk[..]).await.map_err(Fault::down)? {
                0 => return Err(Fault::down("it closed the connection")),
                read => self.pending.extend(chunk.iter().take(read)),
            }
        }
    }
}
