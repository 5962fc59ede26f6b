//! Counters for Prometheus. No names, keys or addresses are in them.

use crate::app::App;
use crate::push::Results;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// By which requests are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: String,
    /// The route's pattern, never the path itself.
    route: String,
    status: u16,
}

/// All counters. Gauges are set when somebody looks.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    pub(crate) posts: Counter,
    pub(crate) messages: Counter,
    pub(crate) decisions: Counter,
    pub(crate) lists: Counter,
    streams: Gauge,
    held: Gauge,
    held_bytes: Gauge,
    lists_held: Gauge,
    lists_held_bytes: Gauge,
    mailboxes: Gauge,
    hosts: Gauge,
    devices: Gauge,
    links: Gauge,
    pushes_waiting: Gauge,
    subscriptions: Gauge,
}

impl Metrics {
    pub(crate) fn new(pushes: &Results) -> Self {
        let mut registry = Registry::with_prefix("countersign");
        pushes.register(&mut registry);
        let requests = Family::<Answered, Counter>::default();
        registry.register("requests", "HTTP requests by route and status", requests.clone());
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let posts = counter("posts", "Calls of hosts that post messages");
        let messages = counter("messages", "Messages of hosts to devices");
        let decisions = counter("decisions", "Decisions of devices");
        let lists = counter("lists", "Lists that belong to requests of hosts");
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let streams = gauge("streams_open", "Event streams open");
        let held = gauge("messages_held", "Messages held in memory");
        let held_bytes = gauge("messages_held_bytes", "Memory that they take, roughly");
        let lists_held = gauge("lists_held", "Lists held in memory");
        let lists_held_bytes =
            gauge("lists_held_bytes", "Memory for them and for those that are being received");
        let mailboxes = gauge("mailboxes_open", "Pairing mailboxes open");
        let hosts = gauge("hosts", "Hosts known");
        let devices = gauge("devices", "Devices known");
        let links = gauge("links", "Links between hosts and devices");
        let pushes_waiting = gauge("pushes_waiting", "Web pushes that wait or are under way");
        let subscriptions = gauge("subscriptions", "Devices that are rung by Web Push");
        Self {
            registry,
            requests,
            posts,
            messages,
            decisions,
            lists,
            streams,
            held,
            held_bytes,
            lists_held,
            lists_held_bytes,
            mailboxes,
            hosts,
            devices,
            links,
            pushes_waiting,
            subscriptions,
        }
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, method: &str, route: &str, status: u16) {
        let label = Answered { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&label).inc();
    }

    /// All in Prometheus' text format.
    pub(crate) fn text(&self, app: &App) -> Option<String> {
        let set = |gauge: &Gauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        let (streams, held, bytes) = app.messages().counts();
        set(&self.streams, streams);
        set(&self.held, held);
        set(&self.held_bytes, bytes);
        let (lists, bytes) = app.lists.counts();
        set(&self.lists_held, lists);
        set(&self.lists_held_bytes, bytes);
        set(&self.mailboxes, app.mailboxes.count());
        let (hosts, devices, links) = app.registry.counts();
        set(&self.hosts, hosts);
        set(&self.devices, devices);
        set(&self.links, links);
        set(&self.pushes_waiting, app.push.len());
        set(&self.subscriptions, app.registry.subscribed());
        let mut text = String::new();
        encode(&mut text, &self.registry).ok()?;
        Some(text)
    }
}
