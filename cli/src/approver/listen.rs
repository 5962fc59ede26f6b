//! One server: its event stream, opened again whenever it breaks.

use super::run::Input;
use countersign_relay_client::{Event, RelayClient, RelayError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;

/// Waits before a stream is opened again, in milliseconds; the last one repeats. It is short: a
/// login waits a minute for a person who looks at this screen.
const WAITS_MS: [u64; 5] = [200, 500, 1_000, 2_000, 4_000];

/// Wait where another machine has opened the stream with the same key: taking it back at once would only
/// make both of them deaf.
const REPLACED: Duration = Duration::from_secs(15);

/// What a server's stream brings.
#[derive(Debug)]
pub enum News {
    /// It is open.
    Connected,
    /// It is not open, and why.
    Disconnected(String),
    /// A sealed message.
    Message(Box<countersign_protocol::message::Sealed>),
}

/// Listens until nobody wants to hear any more.
pub async fn listen(client: Arc<RelayClient>, inputs: Sender<Input>) {
    let mut failures = 0usize;
    loop {
        let error = match follow(&client, &inputs, &mut failures).await {
            Ok(()) => return,
            Err(error) => error,
        };
        let news = News::Disconnected(error.to_string());
        if inputs.send(Input::News(client.origin().to_owned(), news)).await.is_err() {
            return;
        }
        sleep(wait(failures, &error)).await;
        failures += 1;
    }
}

/// One stream from its opening to its end. Comes back without an error when nobody listens.
async fn follow(
    client: &Arc<RelayClient>,
    inputs: &Sender<Input>,
    failures: &mut usize,
) -> Result<(), RelayError> {
    let mut events = client.events().await?;
    loop {
        let news = match events.next().await? {
            Event::Hello(_) => {
                *failures = 0;
                News::Connected
            }
            Event::Message(sealed) => News::Message(Box::new(sealed)),
            // Decisions are for hosts.
            Event::Decision(_) | Event::KeepAlive => continue,
        };
        if inputs.send(Input::News(client.origin().to_owned(), news)).await.is_err() {
            return Ok(());
        }
    }
}

/// Spread by up to a quarter, so that not everybody comes back at once after a restart.
fn wait(failures: usize, error: &RelayError) -> Duration {
    let base = WAITS_MS.get(failures).or(WAITS_MS.last()).copied().unwrap_or_default();
    let [byte] = countersign_protocol::random::bytes::<1>();
    let wait = Duration::from_millis(base + base * u64::from(byte) / 1024);
    match error {
        RelayError::Limited { retry_after: Some(asked) } => wait.max(*asked),
        RelayError::Replaced { .. } => REPLACED,
        _ => wait,
    }
}
