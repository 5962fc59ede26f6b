//! The task that does what the queue says.

use super::queue::{Attempt, Ended};
use super::send::send;
use crate::app::{App, Shared};
use crate::messages::Key;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// How long what waits is tried when the server stops.
const GRACE: Duration = Duration::from_secs(1);
/// When nothing waits for a certain time.
const IDLE: Duration = Duration::from_secs(3600);

/// The running task.
pub(crate) struct Pusher {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Pusher {
    pub(crate) fn start(app: Shared) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { task: tokio::spawn(work(app, stopped)), stop }
    }

    /// Ends it, after a last try of what waits.
    pub(crate) async fn finish(self) {
        // The task outlives neither the runtime nor this; what it has to say stands in the log.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

async fn work(app: Shared, mut stopped: oneshot::Receiver<()>) {
    let mut under_way = JoinSet::new();
    let mut end = None;
    loop {
        let woken = app.push.wake.notified();
        tokio::pin!(woken);
        // From here on no wake-up is missed.
        woken.as_mut().enable();
        let now = Instant::now();
        let wake_at = {
            let mut queue = app.push.queue();
            while let Some(attempt) = queue.take(now) {
                under_way.spawn(try_once(Arc::clone(&app), attempt));
            }
            if end.is_some_and(|end| end <= now || queue.is_idle()) {
                break;
            }
            queue.next_wake().unwrap_or(now + IDLE).min(end.unwrap_or(now + IDLE))
        };
        tokio::select! {
            () = woken => {}
            Some(_) = under_way.join_next() => {}
            () = tokio::time::sleep_until(wake_at.into()) => {}
            _ = &mut stopped, if end.is_none() => end = Some(Instant::now() + GRACE),
        }
    }
    let left = app.push.queue().len();
    if left > 0 {
        tracing::info!("{left} pushes were not sent");
    }
}

/// An attempt that ends in the queue's books whatever happens to its task.
struct Begun<'a> {
    app: &'a App,
    key: Key,
    ended: Ended,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.app.push.queue().done(self.key, self.ended, Instant::now());
    }
}

async fn try_once(app: Shared, attempt: Attempt) {
    let mut begun = Begun { app: &app, key: attempt.key, ended: Ended::Failed };
    // As it is now: the device may have changed or ended it while the push waited.
    let Some(subscription) = app.registry.subscription(attempt.key.device) else { return };
    if *subscription.service() != attempt.service {
        app.push.queue().reroute(&attempt.key, subscription.service());
        app.push.wake.notify_one();
        return;
    }
    let (answer, ended) = send(&app, &attempt, &subscription).await;
    app.push.results.answer(answer);
    begun.ended = ended;
}
