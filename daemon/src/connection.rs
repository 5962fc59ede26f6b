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
    /// So many bytes of `pending` have been looked through, and no frame ends there: a peer that sends
    /// byte by byte costs no more than one that does not.
    searched: usize,
    /// When the frame in `pending` has to be whole.
    due: Option<Instant>,
    /// Since when the peer waits, if it waits: since it is here, or since it sent what is no longer its first frame.
    waits_since: Instant,
    is_begun: bool,
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
        Self {
            stream,
            pending: Zeroizing::new(Vec::new()),
            searched: 0,
            due: None,
            waits_since: Instant::now(),
            is_begun: false,
        }
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

    /// Since when the peer waits for what it was not told yet: the module's time for its first answer has begun when
    /// it connected.
    #[must_use]
    pub fn waits_since(&self) -> Instant {
        self.waits_since
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
        let new = self.pending.get(self.searched..).unwrap_or_default();
        let end = new.iter().position(|byte| *byte == frame::END).map(|place| self.searched + place);
        let Some(end) = end else {
            self.searched = self.pending.len();
            return if self.pending.len() > MAX_FRAME { Err(FrameError::TooLong.into()) } else { Ok(None) };
        };
        if end > MAX_FRAME {
            return Err(FrameError::TooLong.into());
        }
        // A fresh vector for the rest: the old one is wiped and gives its memory back.
        let rest = Zeroizing::new(self.pending.get(end + 1..).unwrap_or_default().to_vec());
        let mut json = std::mem::replace(&mut self.pending, rest);
        json.truncate(end);
        self.searched = 0;
        if std::mem::replace(&mut self.is_begun, true) {
            self.waits_since = Instant::now();
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_protocol::frame::END;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn pair() -> (Connection, UnixStream) {
        let (own, peer) = UnixStream::pair().unwrap();
        (Connection::new(own), peer)
    }

    #[tokio::test]
    async fn frames_come_whole_however_they_are_cut() {
        let (mut connection, mut peer) = pair();
        let sender = tokio::spawn(async move {
            for piece in ["{\"a\"", ":1", "}\0{\"a\":2}\0{\"a", "\":3}\0"] {
                peer.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        for number in 1..=3 {
            assert_eq!(connection.recv::<Value>().await.unwrap(), Some(json!({"a": number})));
        }
        sender.await.unwrap();
        assert_eq!(connection.recv::<Value>().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_dropped_receive_loses_nothing() {
        let (mut connection, mut peer) = pair();
        peer.write_all(b"{\"a\":").await.unwrap();
        assert!(timeout(Duration::from_millis(50), connection.recv::<Value>()).await.is_err());
        peer.write_all(b"1}\0").await.unwrap();
        assert_eq!(connection.recv::<Value>().await.unwrap(), Some(json!({"a": 1})));
    }

    #[tokio::test]
    async fn the_longest_frame_passes_and_a_longer_one_ends_it() {
        let fill = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
        let (mut connection, mut peer) = pair();
        let longest = fill(MAX_FRAME);
        let sent = longest.clone();
        let sender = tokio::spawn(async move {
            peer.write_all(sent.as_bytes()).await.unwrap();
            peer.write_all(&[END]).await.unwrap();
            // Without its end in sight, too.
            let _ = peer.write_all(fill(MAX_FRAME + CHUNK * 2).as_bytes()).await;
            peer
        });
        assert_eq!(connection.recv::<String>().await.unwrap().unwrap().len(), MAX_FRAME - 2);
        let error = connection.recv::<String>().await.unwrap_err();
        assert!(matches!(error, ConnectionError::Frame(FrameError::TooLong)), "{error}");
        assert!(connection.pending.len() <= MAX_FRAME + CHUNK);
        drop(connection);
        drop(sender.await);
        // What is sent is limited, too.
        let (mut connection, _peer) = pair();
        assert!(connection.send(&"x".repeat(MAX_FRAME)).await.is_err());
    }

    #[tokio::test]
    async fn garbage_and_torn_frames_are_errors() {
        let (mut connection, mut peer) = pair();
        peer.write_all(b"\xff\xfe\0{\"a\":1}\0{\"b").await.unwrap();
        drop(peer);
        assert!(connection.recv::<Value>().await.is_err());
        assert_eq!(connection.recv::<Value>().await.unwrap(), Some(json!({"a": 1})));
        assert!(matches!(connection.recv::<Value>().await, Err(ConnectionError::Torn)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_begun_frame_has_five_seconds_also_byte_by_byte() {
        let (mut connection, mut peer) = pair();
        let before = Instant::now();
        let dripping = tokio::spawn(async move {
            for _ in 0..100 {
                if peer.write_all(b" ").await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        assert!(matches!(connection.recv::<Value>().await, Err(ConnectionError::Slow)));
        assert!(before.elapsed() <= FRAME_TIME + Duration::from_secs(1));
        dripping.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_begun_may_wait() {
        let (mut connection, _peer) = pair();
        assert!(timeout(Duration::from_secs(3600), connection.recv::<Value>()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_given_up() {
        let (mut connection, _peer) = pair();
        let text = "x".repeat(MAX_FRAME - 10);
        let sending = async {
            loop {
                if let Err(error) = connection.send(&text).await {
                    return error;
                }
            }
        };
        assert!(matches!(sending.await, ConnectionError::NotTaken));
    }

    #[tokio::test]
    async fn a_close_is_noticed_while_something_else_is_waited_for() {
        let (mut connection, mut peer) = pair();
        peer.write_all(b"{\"a\":1}\0").await.unwrap();
        assert!(timeout(Duration::from_millis(50), connection.closed()).await.is_err());
        // What came meanwhile is still there.
        assert_eq!(connection.recv::<Value>().await.unwrap(), Some(json!({"a": 1})));
        drop(peer);
        timeout(Duration::from_secs(1), connection.closed()).await.unwrap();
        // A flood is no way to stay.
        let (mut connection, mut peer) = pair();
        let flood = tokio::spawn(async move { while peer.write_all(&[b' '; 4096]).await.is_ok() {} });
        timeout(Duration::from_secs(1), connection.closed()).await.unwrap();
        drop(connection);
        flood.await.unwrap();
    }

    #[tokio::test]
    async fn errors_have_their_shape() {
        let (mut connection, mut peer) = pair();
        connection.complain("org.x.Y", "no").await.unwrap();
        connection.reply(json!({"k": 1})).await.unwrap();
        drop(connection);
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "{\"error\":\"org.x.Y\",\"parameters\":{\"message\":\"no\"}}\0{\"parameters\":{\"k\":1}}\0"
        );
    }
}
