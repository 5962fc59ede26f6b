//! Frames on the daemon's sockets, cut anywhere, by anybody on the host.

use countersign_fuzz::{Target, input::Input};
use countersign_protocol::frame::{END, FrameError, MAX_FRAME};
use countersignd::connection::{Connection, ConnectionError};
use serde_json::Value;
use std::io::Write;
use std::net::Shutdown;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

pub(crate) const TARGET: Target = Target { name: "daemon_connection", run, seeds };

fn run(data: &[u8]) {
    thread_local!(static RUNTIME: Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));
    let mut input = Input::new(data);
    let mut sizes: Vec<usize> = (0..4).map(|_| 1 + usize::from(input.byte()) * 16).collect();
    let repeat = usize::from(input.byte()) % 4 * 5000;
    if repeat > 0 {
        // One byte at a time of so many would take seconds, and the daemon gives a frame five.
        sizes.iter_mut().for_each(|size| *size += 50);
    }
    let sent = [input.rest(), &vec![b' '; repeat], b""].concat();

    let (frames, end) = RUNTIME.with(|runtime| runtime.block_on(receive(&sent, &sizes)));
    // By the book: what stands before each NUL.
    let mut expected: Vec<&[u8]> = sent.split(|byte| *byte == END).collect();
    let torn = expected.pop().unwrap_or_default();
    for (frame, expected) in frames.iter().zip(&expected) {
        assert_eq!(frame, expected);
    }
    match end {
        None => assert!(frames.len() == expected.len() && torn.is_empty()),
        Some(ConnectionError::Torn) => assert!(frames.len() == expected.len() && !torn.is_empty()),
        Some(ConnectionError::Frame(FrameError::TooLong)) => {
            let next = expected.get(frames.len()).copied().unwrap_or(torn);
            assert!(next.len() > MAX_FRAME);
        }
        Some(error) => panic!("{error}"),
    }
    assert!(frames.iter().all(|frame| frame.len() <= MAX_FRAME));
}

/// All frames, and why there are no more.
async fn receive(sent: &[u8], sizes: &[usize]) -> (Vec<Vec<u8>>, Option<ConnectionError>) {
    let (own, mut peer) = std::os::unix::net::UnixStream::pair().expect("sockets");
    own.set_nonblocking(true).expect("a socket");
    let mut connection = Connection::new(UnixStream::from_std(own).expect("a socket"));
    let mut frames = Vec::new();
    let mut rest = sent;
    // A piece is sent, then all is read that it completes.
    for size in sizes.iter().cycle() {
        let (piece, tail) = rest.split_at((*size).min(rest.len()));
        rest = tail;
        peer.write_all(piece).expect("the socket holds a piece");
        if rest.is_empty() {
            peer.shutdown(Shutdown::Write).expect("a socket");
        }
        loop {
            tokio::select! {
                biased;
                frame = connection.recv_frame() => match frame {
                    Ok(Some(frame)) => frames.push(frame.to_vec()),
                    Ok(None) => return (frames, None),
                    Err(error) => return (frames, Some(error)),
                },
                () = tokio::task::yield_now(), if !rest.is_empty() => break,
            }
        }
    }
    (frames, None)
}

fn seeds() -> Vec<Vec<u8>> {
    let call = "{\"method\":\"org.countersign.Manage.Status\",\"parameters\":{}}\0";
    assert!(serde_json::from_str::<Value>(call.trim_end_matches('\0')).is_ok());
    vec![
        [&[0, 1, 3, 0, 0], call.as_bytes(), call.as_bytes()].concat(),
        [&[255, 1, 3, 0, 1], call.as_bytes()].concat(),
        b"\0\0\0\0\0\0\0{\"a\"\0".to_vec(),
        b"\xff\xff\xff\xff\x03{".to_vec(),
    ]
}
