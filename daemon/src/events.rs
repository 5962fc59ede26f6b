//! What happens, for those who watch it (`org.countersign.Manage.Watch`). Nobody has to: what is told to nobody is let go.

use crate::app::App;
use crate::devices::Device;
use crate::login::request::OpenRequest;
use crate::manage::{told, told_request};
use countersign_protocol::manage::Event;
use std::rc::Rc;
use tokio::sync::broadcast::{self, Receiver, Sender};

/// Events that may wait for a watcher; one that is slower hears that it has lost some.
const MOST_WAITING: usize = 256;

/// Something that has happened; without an event only the daemon's state may have changed.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// Of somebody, perhaps at somebody's else wish: of these two and of root's interest.
    Of { user: String, requester: Option<String>, event: Rc<Event> },
    /// Nothing but the state.
    State,
}

/// Where it is told.
pub struct Events(Sender<News>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::channel(MOST_WAITING).0)
    }
}

impl Events {
    /// What happens from now on.
    pub(crate) fn watch(&self) -> Receiver<News> {
        self.0.subscribe()
    }

    /// The daemon's state may have changed.
    pub(crate) fn state(&self) {
        self.tell(|| Some(News::State));
    }

    /// A request waits.
    pub(crate) fn opened(&self, request: &OpenRequest) {
        self.tell(|| Some(of(request, Event::RequestOpened(told_request(request)?))));
    }

    /// A request is over.
    pub(crate) fn closed(&self, request: &OpenRequest) {
        self.tell(|| {
            let event = Event::RequestClosed {
                id: request.id.clone(),
                user: request.user.clone(),
                requester: request.requester.clone(),
                outcome: request.outcome(),
            };
            Some(of(request, event))
        });
    }

    fn tell(&self, news: impl FnOnce() -> Option<News>) {
        // Most of the time nobody watches, and a login must not pay for that.
        if self.0.receiver_count() > 0
            && let Some(news) = news()
        {
            // Whoever has just stopped watching needs to hear nothing.
            let _ = self.0.send(news);
        }
    }
}

/// A device may approve from now on.
pub(crate) fn paired(app: &App, device: &Device) {
    about_device(app, device, Event::DevicePaired);
}

/// It may no longer.
pub(crate) fn removed(app: &App, devices: &[Device]) {
    devices.iter().for_each(|device| about_device(app, device, Event::DeviceRemoved));
}

fn about_device(
    app: &App,
    device: &Device,
    event: impl FnOnce(countersign_protocol::manage::Device) -> Event,
) {
    app.events.tell(|| {
        let event = Rc::new(event(told(app, device)));
        Some(News::Of { user: device.user.clone(), requester: None, event })
    });
}

fn of(request: &OpenRequest, event: Event) -> News {
    News::Of { user: request.user.clone(), requester: request.requester.clone(), event: Rc::new(event) }
}
