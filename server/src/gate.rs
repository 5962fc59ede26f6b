//! Who may connect: bounds on connections, socket options, and an end for those that connect and
//! say nothing.

use crate::config::Limits;
use axum_server::accept::Accept;
use nix::sys::socket::{setsockopt, sockopt};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// Until then a connection has said what it wants.
pub(crate) const HEADERS: Duration = Duration::from_secs(15);
/// This many bytes tell HTTP/1 from HTTP/2 (its preface); from there on hyper looks at the time.
const PREFACE: usize = 24;
/// How long sent data may stay unread before the connection counts as dead.
const UNREAD_MS: u32 = 60_000;

/// Counts connections, then hands them to `inner` (plain or TLS).
#[derive(Clone)]
pub(crate) struct Gate<A> {
    inner: A,
    counts: Arc<Counts>,
}

struct Counts {
    most: u32,
    /// None: all connections come from a proxy.
    most_each: Option<u32>,
    now: Mutex<(u32, HashMap<IpAddr, u32>)>,
}

impl<A> Gate<A> {
    pub(crate) fn new(inner: A, limits: &Limits, behind_proxy: bool) -> Self {
        let most_each = (!behind_proxy).then_some(limits.connections_per_address);
        Self {
            inner,
            counts: Arc::new(Counts { most: limits.connections, most_each, now: Mutex::default() }),
        }
    }
}

/// A counted connection's place.
struct Place {
    counts: Arc<Counts>,
    address: Option<IpAddr>,
}

impl Place {
    fn take(counts: &Arc<Counts>, address: IpAddr) -> Option<Self> {
        let mut now = counts.now.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, each) = &mut *now;
        if *total >= counts.most {
            return None;
        }
        // On loopback stand proxies and the machine's own programs.
        let counted = counts.most_each.filter(|_| !address.is_loopback());
        if let Some(most_each) = counted {
            let own = each.entry(address).or_default();
            if *own >= most_each {
                return None;
            }
            *own += 1;
        }
        *total += 1;
        Some(Self { counts: Arc::clone(counts), address: counted.map(|_| address) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut now = self.counts.now.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, each) = &mut *now;
        *total = total.saturating_sub(1);
        if let Some(address) = self.address
            && let Some(own) = each.get_mut(&address)
        {
            *own = own.saturating_sub(1);
            if *own == 0 {
                each.remove(&address);
            }
        }
    }
}

impl<A, S> Accept<TcpStream, S> for Gate<A>
where
    A: Accept<TcpStream, S> + Clone + Send + 'static,
    A::Future: Send,
    S: Send + 'static,
{
    type Stream = Connection<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Self { inner, counts } = self.clone();
        Box::pin(async move {
            let address = stream.peer_addr()?.ip().to_canonical();
            let place = Place::take(&counts, address)
                .ok_or_else(|| io::Error::new(io::ErrorKind::ConnectionRefused, "too many connections"))?;
            prepare(&stream)?;
            let (stream, service) = inner.accept(stream, service).await?;
            let deadline = Some(Box::pin(tokio::time::sleep(HEADERS)));
            Ok((Connection { stream, deadline, read: 0, _place: place }, service))
        })
    }
}

/// Every message goes out at once; a peer that has vanished is noticed by the kernel, without
/// waking anybody.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &60)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &15)?;
    setsockopt(stream, sockopt::TcpKeepCount, &4)?;
    setsockopt(stream, sockopt::TcpUserTimeout, &UNREAD_MS)?;
    Ok(())
}

/// A connection that ends when its first bytes do not come in time.
pub(crate) struct Connection<S> {
    stream: S,
    deadline: Option<Pin<Box<Sleep>>>,
    read: usize,
    _place: Place,
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if let Some(deadline) = &mut this.deadline {
            this.read += buf.filled().len() - before;
            if this.read >= PREFACE {
                this.deadline = None;
            } else if polled.is_pending() && deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn counts(most: u32, most_each: Option<u32>) -> Arc<Counts> {
        Arc::new(Counts { most, most_each, now: Mutex::default() })
    }

    #[test]
    fn connections_are_counted_in_all_and_by_address() {
        let counts = counts(3, Some(2));
        let [a, b]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let first = Place::take(&counts, a).unwrap();
        let _second = Place::take(&counts, a).unwrap();
        assert!(Place::take(&counts, a).is_none());
        let _third = Place::take(&counts, b).unwrap();
        assert!(Place::take(&counts, b).is_none(), "three in all");
        drop(first);
        let again = Place::take(&counts, a).unwrap();
        drop((again, _second, _third));
        assert!(counts.now.lock().unwrap().1.is_empty());
    }

    #[test]
    fn loopback_and_a_proxy_are_counted_in_all_only() {
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let counts = counts(3, Some(1));
        let places: Vec<_> = (0..3).map_while(|_| Place::take(&counts, local)).collect();
        assert_eq!(places.len(), 3);
        assert!(Place::take(&counts, local).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_hung_up_on() {
        let place = Place::take(&counts(1, None), "127.0.0.1".parse().unwrap()).unwrap();
        let (mut client, stream) = tokio::io::duplex(64);
        let deadline = Some(Box::pin(tokio::time::sleep(HEADERS)));
        let mut connection = Connection { stream, deadline, read: 0, _place: place };
        client.write_all(b"PRI * HTTP/2").await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(connection.read(&mut buffer).await.unwrap(), 12);
        let error = connection.read(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_spoken_may_be_silent() {
        let place = Place::take(&counts(1, None), "127.0.0.1".parse().unwrap()).unwrap();
        let (mut client, stream) = tokio::io::duplex(64);
        let deadline = Some(Box::pin(tokio::time::sleep(HEADERS)));
        let mut connection = Connection { stream, deadline, read: 0, _place: place };
        client.write_all(&[b'x'; PREFACE]).await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(connection.read(&mut buffer).await.unwrap(), PREFACE);
        let silent = tokio::time::timeout(HEADERS * 10, connection.read(&mut buffer)).await;
        assert!(silent.is_err(), "{silent:?}");
    }
}
