//! Tells a caller what happens.

use super::{Session, status};
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
