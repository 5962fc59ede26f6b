//! A wire between the host and its server, on which bytes get lost, changed, repeated and held back.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// Bytes that are carried at once.
const CHUNK: usize = 4096;
/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(100_000);

/// What happens to what the server says on one connection, after so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// It ends.
    Cut(u16),
    /// It ends with a reset.
    Reset(u16),
    /// Nothing more comes, and it does not end.
    Stall(u16),
    /// One bit is another.
    Flip(u16, u8),
    /// A piece comes twice.
    Repeat(u16),
    /// A piece is missing.
    Skip(u16),
    /// This is put in between.
    Inject(u16, Junk),
    /// The rest comes a byte at a time.
    Drip(u16),
}

/// What can stand where it does not belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Junk {
    Zeros,
    /// The answer of a server that speaks HTTP/1.1.
    OldAnswer,
    /// Frames of HTTP/2, sound by themselves: thousands of pings.
    Pings,
    /// Thousands of changes of the settings.
    Settings,
    /// Good-bye, before anything was answered.
    GoAway,
    /// A frame that says it is 16 MiB long.
    HugeFrame,
    /// Headers that go on for ever.
    Continuations,
    /// An answer to a question that nobody has asked.
    Push,
}

impl Junk {
    fn bytes(self) -> Vec<u8> {
        let frame = |kind: u8, flags: u8, stream: u8, body: &[u8]| {
            let length = u32::try_from(body.len()).unwrap().to_be_bytes();
            [&length[1..], &[kind, flags, 0, 0, 0, stream], body].concat()
        };
        match self {
            Self::Zeros => vec![0; 10_000],
            Self::OldAnswer => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec(),
            Self::Pings => frame(6, 0, 0, &[7; 8]).repeat(5_000),
            Self::Settings => frame(4, 0, 0, &[0, 4, 0, 0, 255, 255]).repeat(5_000),
            Self::GoAway => frame(7, 0, 0, &[0; 8]),
            Self::HugeFrame => [&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1][..], &[b'x'; 50_000]].concat(),
            Self::Continuations => {
                let more = frame(9, 0, 1, &[0x40, 1, b'x', 1, b'y'].repeat(1_000));
                [frame(1, 0, 1, &[0x88]), more.repeat(100)].concat()
            }
            Self::Push => frame(5, 4, 1, &[0, 0, 0, 2, 0x82, 0x86, 0x84]),
        }
    }
}

/// The wire.
pub(crate) struct Wire {
    shared: Arc<Shared>,
    pub(crate) address: SocketAddr,
}

struct Shared {
    harms: Mutex<VecDeque<Harm>>,
    /// Counts up when all connections are to end.
    cut: watch::Sender<u32>,
    /// What the host was sent on each connection, where a test wants to know.
    carried: Mutex<Option<Vec<Vec<u8>>>>,
}

impl Wire {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let shared =
            Arc::new(Shared { harms: Mutex::default(), cut: watch::channel(0).0, carried: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let wire = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if let Ok(far) = TcpStream::connect(server).await {
                    tokio::spawn(connection(Arc::clone(&wire), near, far));
                }
            }
        });
        Self { shared, address }
    }

    /// Ends all connections; the next one has this done to it, and the ones after it nothing.
    pub(crate) fn harm(&self, harm: Harm) {
        self.shared.harms.lock().unwrap().push_back(harm);
        self.shared.cut.send_modify(|number| *number += 1);
    }

    /// What the host was sent since the last time, by connection.
    pub(crate) fn carried(&self) -> Vec<Vec<u8>> {
        self.shared.carried.lock().unwrap().replace(Vec::new()).unwrap_or_default()
    }

    pub(crate) fn heal(&self) {
        self.shared.harms.lock().unwrap().clear();
        self.shared.cut.send_modify(|number| *number += 1);
    }
}

async fn connection(wire: Arc<Shared>, near: TcpStream, far: TcpStream) {
    let mut cut = wire.cut.subscribe();
    let harm = wire.harms.lock().unwrap().pop_front();
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    if matches!(harm, Some(Harm::Reset(_))) {
        near.set_zero_linger().unwrap();
    }
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::select! {
        () = carry(near_read, far_write) => {}
        () = spoil(far_read, Kept::new(&wire, near_write), harm) => {}
        _ = cut.changed() => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut chunk = [0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

/// The end of a connection at which the host reads.
struct Kept<'a> {
    wire: &'a Shared,
    /// Which connection it is since the last time that somebody asked.
    number: Option<usize>,
    to: OwnedWriteHalf,
}

impl<'a> Kept<'a> {
    fn new(wire: &'a Shared, to: OwnedWriteHalf) -> Self {
        let number = wire.carried.lock().unwrap().as_mut().map(|carried| {
            carried.push(Vec::new());
            carried.len() - 1
        });
        Self { wire, number, to }
    }

    async fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if let (Some(carried), Some(number)) = (self.wire.carried.lock().unwrap().as_mut(), self.number)
            && let Some(kept) = carried.get_mut(number)
        {
            kept.extend_from_slice(bytes);
        }
        self.to.write_all(bytes).await
    }
}

async fn spoil(mut from: OwnedReadHalf, mut to: Kept<'_>, harm: Option<Harm>) {
    let (mut chunk, mut carried, mut harm) = ([0; CHUNK], 0_usize, harm);
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let mut bytes = chunk[..length].to_vec();
        let place =
            harm.map(Harm::place).and_then(|place| place.checked_sub(carried)).filter(|at| *at < length);
        carried += length;
        if let (Some(at), Some(what)) = (place, harm) {
            let rest = bytes.split_off(at);
            match what {
                Harm::Cut(_) | Harm::Reset(_) => {
                    let _ = to.write_all(&bytes).await;
                    return;
                }
                Harm::Stall(_) => {
                    let _ = to.write_all(&bytes).await;
                    return sleep(FOR_EVER).await;
                }
                Harm::Flip(_, bit) => {
                    bytes.extend(rest);
                    bytes[at] ^= 1 << (bit % 8);
                }
                Harm::Repeat(_) => bytes = [bytes, rest.clone(), rest].concat(),
                Harm::Skip(_) => bytes.extend(rest.into_iter().skip(9)),
                Harm::Inject(_, junk) => bytes = [bytes, junk.bytes(), rest].concat(),
                Harm::Drip(_) => {
                    for byte in rest {
                        if to.write_all(&[byte]).await.is_err() {
                            return;
                        }
                        tokio::task::yield_now().await;
                    }
                }
            }
            harm = None;
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

impl Harm {
    fn place(self) -> usize {
        match self {
            Self::Cut(at)
            | Self::Reset(at)
            | Self::Stall(at)
            | Self::Flip(at, _)
            | Self::Repeat(at)
            | Self::Skip(at)
            | Self::Inject(at, _)
            | Self::Drip(at) => at.into(),
        }
    }
}
