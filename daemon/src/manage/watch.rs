//! Tells a caller what happens.

use super::Session;
use super::host::status;
use crate::connection::ConnectionError;
use crate::events::News;
use countersign_protocol::manage::{Event, Status};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

/// How long changes of the state are gathered before they are told.
const GATHERED: Duration = Duration::from_millis(200);

impl Session {
    /// Tells it until the caller is gone.
    pub(super) async fn watch(&mut self) -> Result<(), ConnectionError> {
        let of = match self.whose(None).await {
            Ok(of) => of,
            Err(super::Refusal(name, message)) => return self.connection.complain(name, message).await,
        };
        let mut news = self.app.events.watch();
        let mut told = self.tell_status(None).await?;
        let mut due = None;
        loop {
            let event = tokio::select! {
                news = news.recv() => match news {
                    Ok(News::State) => None,
                    Ok(News::Of { user, requester, event }) => {
                        let concerns = |who: &String| *who == user || requester.as_ref() == Some(who);
                        of.as_ref().is_none_or(concerns).then(|| (*event).clone())
                    }
                    Err(RecvError::Lagged(_)) => Some(Event::Lost {}),
                    Err(RecvError::Closed) => return Ok(()),
                },
                () = self.connection.closed() => return Ok(()),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    told = self.tell_status(Some(told)).await?;
                    continue;
                }
            };
            due = due.or_else(|| Some(Instant::now() + GATHERED));
            if let Some(event) = event {
                self.connection.reply(event).await?;
            }
        }
    }

    /// The state as everybody may know it, where it is another one than was told last.
    async fn tell_status(&mut self, told: Option<Status>) -> Result<Status, ConnectionError> {
        let now = status(&self.app, false);
        if told.as_ref() != Some(&now) {
            self.connection.reply(Event::Status(now.clone())).await?;
        }
        Ok(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manage::testing::session;
    use crate::testing::{Lab, TestDevice};
    use countersign_protocol::frame::Reply;
    use countersign_protocol::message::Confirm;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_watcher_hears_of_its_own_things_and_root_of_all() {
        let (lab, device) = (Lab::new(), TestDevice::new());
        lab.pair("alice", &device).await;
        let request = lab.request("alice", Confirm::Code, Duration::from_secs(60));
        // As somebody whom nothing concerns, and as root.
        for (root_socket, hears) in [(false, false), (true, true)] {
            let (mut watcher, mut peer) = session(&lab, 0, root_socket);
            let heard = async {
                let mut heard = Vec::new();
                while let Ok(Ok(Some(Reply::Parameters { parameters }))) =
                    timeout(Duration::from_millis(600), peer.recv::<Reply<Event>>()).await
                {
                    if let Event::Status(_) = parameters {
                        // The first one: what follows is heard.
                        lab.app.events.opened(&request);
                        lab.app.events.closed(&request);
                    } else {
                        heard.push(parameters);
                    }
                }
                drop(peer);
                heard
            };
            let (served, heard) = tokio::join!(watcher.watch(), heard);
            served.unwrap();
            assert_eq!(heard.len(), if hears { 2 } else { 0 }, "{heard:?}");
            assert!(!hears || matches!(&heard[0], Event::RequestOpened(opened) if opened.id == request.id));
        }
    }
}
