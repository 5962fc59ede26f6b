//! What happens, told to those who have subscribed: to each alone, and only what they may know.

use super::clients::{Client, Scope};
use super::fault::{BROKEN, Fault};
use super::link::Link;
use super::service::Service;
use super::values::{Dict, dict, properties, word};
use super::{NAME, PATH};
use countersign_protocol::manage::{Call, Event, Status};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use zbus::{DynamicType, Variant};

/// Before a daemon that was away is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often it is looked whether anybody still listens.
const LOOK: Duration = Duration::from_secs(20);
/// Longest time for the bus to take a signal.
const SEND_TIME: Duration = Duration::from_secs(10);
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Hears the daemon while anybody has subscribed. Never comes back.
pub(super) async fn run(service: Rc<Service>) {
    loop {
        if service.clients.subscribers().is_empty() {
            service.subscribed.notified().await;
            continue;
        }
        let mut hearing = Hearing { service: &service, status: None };
        let why = hearing.follow().await;
        let was_heard = service.heard.send_replace(false);
        if let Err(why) = why {
            if was_heard {
                hearing.lost().await;
            }
            if !why.is_down() {
                eprintln!("countersign: {}", why.text);
            }
            sleep(RETRY).await;
        }
    }
}

/// A connection that brings the daemon's events.
struct Hearing<'a> {
    service: &'a Service,
    /// What was told last.
    status: Option<Status>,
}

impl Hearing<'_> {
    /// Passes on what the daemon tells, until nobody wants to hear of it.
    async fn follow(&mut self) -> Result<(), Fault> {
        let mut link = Link::open(&self.service.run).await?;
        link.send(&Call::Watch {}).await?;
        loop {
            let event = match timeout(LOOK, link.answer::<Event>(Duration::MAX)).await {
                Ok(event) => event?,
                Err(_) if self.service.clients.subscribers().is_empty() => return Ok(()),
                Err(_) => continue,
            };
            self.tell(event).await?;
            // The first event says that all that follow will be heard.
            self.service.heard.send_replace(true);
        }
    }

    async fn tell(&mut self, event: Event) -> Result<(), Fault> {
        match event {
            Event::RequestOpened(request) => {
                let of = [Some(request.user.as_str()), request.requester.as_deref()];
                self.signal(&of, "RequestOpened", &dict(&request)).await
            }
            Event::RequestClosed { id, user, requester, outcome } => {
                let of = [Some(user.as_str()), requester.as_deref()];
                self.signal(&of, "RequestClosed", &(&id, &user, word(&outcome))).await
            }
            Event::DevicePaired(device) => {
                self.signal(&[Some(&device.user)], "DevicePaired", &dict(&device)).await
            }
            Event::DeviceRemoved(device) => {
                self.signal(&[Some(&device.user)], "DeviceRemoved", &dict(&device)).await
            }
            Event::Lost {} => self.to_all(NAME, "EventsLost", &()).await,
            Event::Status(status) => self.changed(status).await,
        }
    }

    /// The state is another one.
    async fn changed(&mut self, status: Status) -> Result<(), Fault> {
        let before: HashMap<&str, Variant<'_>> = self.status.iter().flat_map(properties).collect();
        let changed: HashMap<&str, Variant<'_>> =
            properties(&status).into_iter().filter(|(name, value)| before.get(name) != Some(value)).collect();
        self.to_all(PROPERTIES, "PropertiesChanged", &(NAME, changed, [""; 0].as_slice())).await?;
        self.status = Some(status);
        Ok(())
    }

    /// The daemon is away: nothing that was told holds.
    async fn lost(&mut self) {
        let Some(status) = self.status.take() else { return };
        let names: Vec<&str> = properties(&status).into_iter().map(|(name, _)| name).collect();
        let told = async {
            self.to_all(PROPERTIES, "PropertiesChanged", &(NAME, Dict::new(), names)).await?;
            self.to_all(NAME, "EventsLost", &()).await
        };
        if let Err(why) = told.await {
            eprintln!("countersign: {}", why.text);
        }
    }

    /// To those who subscribed to one of these users.
    async fn signal(
        &self,
        of: &[Option<&str>],
        name: &str,
        body: &(impl serde::Serialize + DynamicType),
    ) -> Result<(), Fault> {
        for (client, scope) in self.service.clients.subscribers() {
            let concerns = match &scope {
                Scope::All => true,
                Scope::Of(user) => of.contains(&Some(user.as_str())),
            };
            if concerns {
                self.emit(&client, NAME, name, body).await?;
            }
        }
        Ok(())
    }

    async fn to_all(
        &self,
        interface: &str,
        name: &str,
        body: &(impl serde::Serialize + DynamicType),
    ) -> Result<(), Fault> {
        for (client, _) in self.service.clients.subscribers() {
            self.emit(&client, interface, name, body).await?;
        }
        Ok(())
    }

    async fn emit(
        &self,
        client: &Client,
        interface: &str,
        name: &str,
        body: &(impl serde::Serialize + DynamicType),
    ) -> Result<(), Fault> {
        let to = Some(client.name.as_str());
        let sent =
            timeout(SEND_TIME, self.service.connection.emit_signal(to, PATH, interface, name, body)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Fault::new(BROKEN, format!("a signal could not be sent: {error}"))),
            Err(_) => Err(Fault::new(BROKEN, "the bus takes no signals")),
        }
    }
}
