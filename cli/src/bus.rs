//! D-Bus, as far as it is used here: every wait on it ends.

use futures_core::Stream;
use serde::Serialize;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::{Connection, DynamicType, Message, MessageStream};

/// Longest wait for an answer on a bus; a service that is started by the call needs some of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Joins a bus: the one at the address, or the usual one.
pub(crate) async fn connect(
    address: Option<String>,
    usual: fn() -> Builder<'static>,
) -> zbus::Result<Connection> {
    let builder = address.map_or_else(usual, |address| Builder::address(address.as_str()));
    bounded(builder.build()).await
}

/// Calls a method.
pub(crate) async fn call(
    connection: &Connection,
    to: &str,
    path: &str,
    interface: &str,
    method: &str,
    body: &(impl Serialize + DynamicType),
) -> zbus::Result<Message> {
    bounded(connection.call_method(Some(to), path, Some(interface), method, body)).await
}

/// Gives up when no answer comes.
async fn bounded<T>(work: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| Err(zbus::Error::Failure("no answer on the bus in time".into())))
}

/// The next message of a stream.
pub(crate) async fn next(stream: &mut MessageStream) -> Option<zbus::Result<Message>> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}
