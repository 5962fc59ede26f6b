//! One peer on a Unix socket: frames in, frames out, with limits on size and time.

use countersign_protocol::frame::{self, Complaint, FrameError, MAX_FRAME, Reply};
use serde::{Serialize, de::DeserializeOwned};
use std::io;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroizing;

/// How long a frame may take to arrive once its first byte is there, and to be taken by the peer.
pub const FRAME_TIME: Duration = Duration::from_secs(5);

/// Bytes read at once. Frames are small, and ten thousand connections may wait.
const CHUNK: usize = 2048;

/// A peer's connection.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// What was read and is not yet a frame. Holds typed codes, so it is wiped.
    pending: Zeroizing<Vec<u8>>,
    /// When the frame in `pending` has to be whole.
    due: Option<Instant>,
}

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The peer sent what is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer began a frame and did not finish it.
    #[error("a frame that was begun did not arrive within {} s", FRAME_TIME.as_secs())]
    Slow,
    /// The peer closed in the middle of a frame.
    #[error("closed in the middle of a frame")]
    Torn,
    /// The peer does not read.
    #[error("a reply was not taken within {} s", FRAME_TIME.as_secs())]
    NotTaken,
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(#[from] io::Error),
}

impl Connection {
    /// Takes over an accepted socket.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, pending: Zeroizing::new(Vec::new()), due: None }
    }

    /// The next message; `None` when the peer has closed. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ConnectionError`]: the connection is of no more use.
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ConnectionError> {
        match self.recv_frame().await? {
            Some(json) => Ok(Some(frame::decode(&json)?)),
            None => Ok(None),
        }
    }

    /// The next frame's JSON; `None` when the peer has closed. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`Self::recv`].
    pub async fn recv_frame(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, ConnectionError> {
        loop {
            if let Some(json) = self.take_frame()? {
                return Ok(Some(json));
            }
            let read = match self.due {
                Some(due) => timeout_at(due, self.read()).await.map_err(|_| ConnectionError::Slow)?,
                None => self.read().await,
            };
            if read? == 0 {
                return if self.pending.is_empty() { Ok(None) } else { Err(ConnectionError::Torn) };
            }
        }
    }

    /// Comes back when the peer has closed, while something else is waited for. What the peer
    /// sends meanwhile is kept; more than a frame of it counts as closed.
    pub async fn closed(&mut self) {
        while self.pending.len() <= MAX_FRAME {
            if !matches!(self.read().await, Ok(1..)) {
                return;
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`ConnectionError`]: the connection is of no more use.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), ConnectionError> {
        let bytes = Zeroizing::new(frame::encode(message)?);
        timeout(FRAME_TIME, self.write(&bytes)).await.map_err(|_| ConnectionError::NotTaken)?
    }

    /// Sends the result of a call.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn reply<T: Serialize>(&mut self, parameters: T) -> Result<(), ConnectionError> {
        self.send(&Reply::Parameters { parameters }).await
    }

    /// Sends a named error with one line for a person.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn complain(&mut self, error: &str, message: impl Into<String>) -> Result<(), ConnectionError> {
        let parameters = Complaint { message: message.into() };
        self.send(&Reply::<()>::Error { error: error.into(), parameters }).await
    }

    /// Reads once into `pending`. Descriptors that a peer passes along are never received.
    async fn read(&mut self) -> io::Result<usize> {
        loop {
            self.stream.readable().await?;
            match self.try_read() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A peer that died with unread replies is as gone as one that closed.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(0),
                read => return read,
            }
        }
    }

    /// Not part of the future above, so that a waiting connection does not hold the chunk.
    fn try_read(&mut self) -> io::Result<usize> {
        let mut chunk = Zeroizing::new([0_u8; CHUNK]);
        let read = self.stream.try_read(chunk.as_mut_slice())?;
        if read > 0 && self.pending.is_empty() {
            self.due = Some(Instant::now() + FRAME_TIME);
        }
        self.pending.extend_from_slice(chunk.get(..read).unwrap_or_default());
        Ok(read)
    }

    /// Cuts the first frame off what was read.
    fn take_frame(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, ConnectionError> {
        let Some(end) = self.pending.iter().position(|byte| *byte == frame::END) else {
            return if self.pending.len() > MAX_FRAME { Err(FrameError::TooLong.into()) } else { Ok(None) };
        };
        if end > MAX_FRAME {
            return Err(FrameError::TooLong.into());
        }
        // A fresh vector for the rest: the old one is wiped and gives its memory back.
        let rest = Zeroizing::new(self.pending.get(end + 1..).unwrap_or_default().to_vec());
        let mut json = std::mem::replace(&mut self.pending, rest);
        json.truncate(end);
        self.due = (!self.pending.is_empty()).then(|| Instant::now() + FRAME_TIME);
        Ok(Some(json))
    }

    async fn write(&self, mut bytes: &[u8]) -> Result<(), ConnectionError> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => bytes = bytes.get(written?..).unwrap_or_default(),
            }
        }
        Ok(())
    }
}
