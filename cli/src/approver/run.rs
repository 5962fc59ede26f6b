//! The loop: connects the inbox with servers, keys or lines, the directory and time.

use super::desktop::{self, Desktop};
use super::devices::Devices;
use super::inbox::{Event, Extent, Inbox, Key, Now, Order, Phase, Verified};
use super::letter::{self, Letter};
use super::listen::{News, listen};
use super::listing::{self, Leaf};
use super::pair;
use super::plain::{self, Typed};
use super::screen::{self, Drawn, View};
use super::store::{Device, Store};
use super::terminal::{self, Terminal};
use crate::output::{Exit, Failure, Outcome, Output, time};
use countersign_protocol::list;
use countersign_protocol::message::{Answer, Kind, Sealed};
use countersign_relay_client::RelayClient;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use zeroize::Zeroizing;

/// Inputs that may wait.
const QUEUE: usize = 256;
/// How often the countdown moves and what is due is sent again.
const TICK: Duration = Duration::from_millis(500);
/// Longest line of a command.
const MAX_LINE: u64 = 256;

/// A decision with the code to show, or why there is none.
type Made = Result<(Sealed, Option<Zeroizing<String>>), String>;

/// What the loop waits for.
#[derive(Debug)]
pub enum Input {
    /// From the server of that origin.
    News(String, News),
    /// A key on the screen.
    Key(terminal::Key),
    /// The window has another size.
    Redraw,
    /// A line on standard input.
    Line(String),
    /// A request's list has come, or why it has not.
    List(Key, Result<String, String>),
    /// A decision was signed.
    Signed(Key, Made),
    /// A decision was sent.
    Sent(Key, Result<(), String>),
    /// From the desktop's notifications.
    Desktop(desktop::Said),
}

/// How the approver meets its person.
#[derive(Debug)]
pub enum Face {
    /// A screen and keys.
    Screen(Terminal),
    /// A line an event, and commands as lines.
    Lines(Output),
    /// A line an event for a journal: without codes, and nobody types there.
    Log(Output),
}

/// Watches until the person quits. With `notify` the desktop shows it as well.
///
/// # Errors
/// When the terminal, standard output or the directory cannot be used.
pub async fn watch(store: Store, device: Device, face: Face, auto: Option<Answer>, notify: bool) -> Outcome {
    let (inputs, queue) = channel(QUEUE);
    let mut clients = BTreeMap::new();
    for server in store.servers() {
        let client = Arc::new(pair::connect(server, &device)?);
        tokio::spawn(listen(client.clone(), inputs.clone()));
        clients.insert(server.origin.clone(), client);
    }
    let typed = inputs.clone();
    let reader: Option<fn(&Sender<Input>)> = match face {
        Face::Screen(_) => Some(terminal::read_keys),
        Face::Lines(_) => Some(read_lines),
        Face::Log(_) => None,
    };
    if let Some(reader) = reader {
        // Reading blocks, and nothing ends it but the end of the program.
        std::thread::Builder::new()
            .spawn(move || reader(&typed))
            .map_err(|e| Failure::broken("cannot start a thread", e))?;
    }
    let inbox = Inbox::new(store.closed()?, Devices::new(device.card.key.id(), store.device_lists()?));
    let decided = store.decided()?;
    let device = Arc::new(device);
    let start = Instant::now();
    let kept = decided.iter().map(|d| (d.verified.key(), d.answer)).collect();
    let desktop = notify.then(|| Desktop::start(inputs.clone(), start));
    let mut watch = Watch {
        store,
        device,
        inbox,
        clients,
        inputs,
        face,
        desktop,
        auto,
        start,
        kept,
        unkept: BTreeSet::new(),
        drawn: None,
        leaf: None,
    };
    for decided in decided {
        watch.inbox.restore(decided, watch.now());
    }
    let result = watch.run(queue).await;
    if let Some(desktop) = watch.desktop {
        desktop.end().await;
    }
    result
}

struct Watch {
    store: Store,
    device: Arc<Device>,
    inbox: Inbox,
    clients: BTreeMap<String, Arc<RelayClient>>,
    inputs: Sender<Input>,
    face: Face,
    desktop: Option<Desktop>,
    auto: Option<Answer>,
    start: Instant,
    /// The decisions that are on the disk.
    kept: Vec<(Key, Answer)>,
    /// Hosts that have said something of devices that is not on the disk.
    unkept: BTreeSet<String>,
    /// What the person sees now.
    drawn: Option<Drawn>,
    /// The page of a request's list that the person looks at.
    leaf: Option<Leaf>,
}

impl Watch {
    async fn run(&mut self, mut queue: Receiver<Input>) -> Outcome {
        let broken = |e| Failure::broken("signals", e);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(broken)?;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.settle()?;
            let input = tokio::select! {
                input = queue.recv() => input,
                _ = tick.tick() => { self.inbox.tick(self.now()); continue }
                _ = interrupt.recv() => None,
                _ = terminate.recv() => None,
                _ = hangup.recv() => None,
            };
            match input {
                Some(input) => {
                    if !self.take(input)? {
                        return Ok(());
                    }
                }
                None => return Ok(()),
            }
        }
    }

    fn now(&self) -> Now {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Now { ms, unix }
    }

    /// Takes one input; false at the end.
    fn take(&mut self, input: Input) -> Outcome<bool> {
        let now = self.now();
        match input {
            Input::News(server, News::Connected) => self.inbox.connected(&server, now),
            Input::News(server, News::Disconnected(why)) => self.inbox.disconnected(&server, &why),
            Input::News(server, News::Message(sealed)) => self.receive(&server, &sealed, now)?,
            Input::Redraw => (),
            Input::Line(line) => match plain::parse(&line) {
                Typed::Quit => return Ok(false),
                Typed::Empty => (),
                Typed::Unknown => self
                    .inbox
                    .notice("type a ID, a ID 8h (with a lease), d ID, r ID, l ID (its list) or q".into()),
                Typed::Lease(id, seconds) => match plain::find(&self.inbox, id) {
                    Ok(key) => {
                        self.inbox.lease(&key, seconds);
                        self.inbox.answer(&key, Answer::Approve);
                    }
                    Err(why) => self.inbox.notice(why),
                },
                Typed::List(id) => match plain::find(&self.inbox, id) {
                    Ok(key) => self.inbox.show_list(&key),
                    Err(why) => self.inbox.notice(why),
                },
                Typed::Answer(answer, id) => match plain::find(&self.inbox, id) {
                    Ok(key) => self.inbox.answer(&key, answer),
                    Err(why) => self.inbox.notice(why),
                },
            },
            Input::Key(key) => return Ok(self.press(key, now)),
            Input::Signed(key, Ok((sealed, code))) => self.inbox.signed(&key, sealed, code, now),
            Input::Signed(key, Err(why)) => {
                self.inbox.not_signed(&key, &why);
                if let Some(desktop) = &mut self.desktop {
                    desktop.note(&key, &format!("Not signed: {why}."));
                }
            }
            Input::List(key, list) => self.inbox.listed(&key, list, now),
            Input::Sent(key, result) => {
                let result = result.map_err(|why| self.with_code(&key, why));
                self.inbox.sent(&key, result);
            }
            Input::Desktop(said) => {
                if let Some(desktop) = &mut self.desktop {
                    desktop.hear(said, &mut self.inbox);
                }
            }
        }
        Ok(true)
    }

    fn press(&mut self, key: terminal::Key, now: Now) -> bool {
        let answer = match key {
            terminal::Key::Interrupt | terminal::Key::Letter('q') => return false,
            // While a list is there its pages are what is turned.
            terminal::Key::Next if self.leaf.is_some() => {
                self.leaf = listing::turn(&self.inbox, self.leaf.take());
                return true;
            }
            terminal::Key::Previous if self.leaf.is_some() => {
                self.leaf = self.leaf.take().and_then(listing::turn_back);
                return true;
            }
            terminal::Key::Next => return self.step(true),
            terminal::Key::Previous => return self.step(false),
            terminal::Key::Letter('s') => {
                self.leaf = listing::turn(&self.inbox, self.leaf.take());
                return true;
            }
            terminal::Key::Letter('l') => {
                self.inbox.next_lease();
                return true;
            }
            terminal::Key::Letter('a') => Answer::Approve,
            terminal::Key::Letter('d') => Answer::Deny,
            terminal::Key::Letter('r') => Answer::Report,
            terminal::Key::Letter(_) => return true,
        };
        if self.drawn.as_ref().is_some_and(|drawn| screen::may_answer(drawn, answer)) {
            self.inbox.answer_selected(answer, now);
        } else if self.leaf.is_some() {
            self.inbox.notice("go back to the request first: press s until it is there".into());
        } else {
            self.inbox.notice("not all of it is shown: make the window larger".into());
        }
        true
    }

    fn step(&mut self, forward: bool) -> bool {
        self.inbox.step(forward);
        true
    }

    fn receive(&mut self, server: &str, sealed: &Sealed, now: Now) -> Outcome {
        match letter::read(sealed, &self.device, self.store.hosts(), server) {
            Ok(Letter::Request(verified)) => self.inbox.arrive(*verified, now),
            Ok(Letter::Closed { key, digest, outcome, host_name }) => {
                self.inbox.close(&key, &digest, outcome, &host_name, now);
                self.store.keep_closed(self.inbox.closed())?;
            }
            Ok(Letter::Notice { key, digest, notice, host_name }) => {
                if self.inbox.hear(&key, &notice, &digest, &host_name, now) {
                    self.unkept.insert(key.host);
                }
            }
            Ok(Letter::Unknown) => self.inbox.unknown(),
            Err(alarm) => self.inbox.alarm(alarm),
        }
        Ok(())
    }

    /// Does what the inbox wants done, and shows what it has become.
    fn settle(&mut self) -> Outcome {
        self.keep_decided();
        loop {
            let events = self.inbox.take_events();
            let orders = self.inbox.take_orders();
            if events.is_empty() && orders.is_empty() {
                break;
            }
            for event in &events {
                self.tell(event)?;
                if let (Event::Request(key) | Event::Listed(key, Extent::Beginning), Some(answer)) =
                    (event, self.auto)
                    && self.inbox.get(key).is_some_and(|item| item.takes(answer))
                {
                    self.inbox.answer(key, answer);
                }
            }
            for order in orders {
                self.carry_out(order)?;
            }
        }
        // After it was told: rather twice than never, when this is where the program ends.
        for host in std::mem::take(&mut self.unkept) {
            if let Err(failure) = self.store.keep_device_lists(&host, &self.inbox.devices().of(&host)) {
                self.inbox.notice(failure.message);
            }
        }
        self.draw()?;
        let now = self.now();
        if let Some(desktop) = &mut self.desktop {
            desktop.show(&self.inbox, now);
        }
        Ok(())
    }

    /// Puts the open decisions on the disk before they are sent.
    fn keep_decided(&mut self) {
        let decided: Vec<_> = self.inbox.decided().collect();
        let answers: Vec<_> = decided.iter().map(|d| (d.verified.key(), d.answer)).collect();
        if answers != self.kept {
            self.kept = answers;
            // The decision itself does not depend on it.
            if let Err(failure) = self.store.keep_decided(&decided) {
                self.inbox.notice(failure.message);
            }
        }
    }

    fn tell(&mut self, event: &Event) -> Outcome {
        let now = self.now();
        let object = plain::object_of(event, &self.inbox, now);
        match (&mut self.face, &object) {
            (Face::Screen(terminal), _) => {
                if matches!(event, Event::Request(_) | Event::Device(..) | Event::Alarm(_)) {
                    terminal.ring();
                }
            }
            (Face::Lines(out), Some(object)) if out.json => out.object(object)?,
            (Face::Log(out), _) => {
                // The first line says what happened; the second one is the code, which opens a login.
                if let Some(line) = plain::words_of(event, &self.inbox, now, time).first() {
                    out.lines(line)?;
                }
            }
            (Face::Lines(out), _) => {
                for line in plain::words_of(event, &self.inbox, now, time) {
                    out.lines(&line)?;
                }
            }
        }
        let kept = !matches!(
            event,
            Event::Connected(_) | Event::Disconnected(..) | Event::Notice(_) | Event::Listed(..)
        );
        if let (true, Some(mut object)) = (kept, object) {
            if let Some(fields) = object.as_object_mut() {
                fields.insert("at".into(), now.unix.into());
                // A code opens a login as long as that waits.
                fields.remove("code");
            }
            if let Err(failure) = self.store.log(&object) {
                self.inbox.notice(failure.message);
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, order: Order) -> Outcome {
        let inputs = self.inputs.clone();
        match order {
            Order::Fetch(key) => {
                let Some(verified) = self.inbox.get(&key).map(|item| item.verified.clone()) else {
                    return Ok(());
                };
                let Some(client) = self.clients.get(&verified.server).cloned() else { return Ok(()) };
                tokio::spawn(async move {
                    let list = fetch(&client, &verified).await;
                    let _ = inputs.send(Input::List(key, list)).await;
                });
            }
            Order::Sign(key, answer) => {
                let Some(item) = self.inbox.get(&key) else { return Ok(()) };
                let (verified, lease) = (item.verified.clone(), item.lease_of(answer));
                // By the host's clock, as far as it is known.
                let apart = item.clock_apart.unwrap_or_default();
                let (counter, device) = (self.store.next_counter()?, self.device.clone());
                let unix = self.now().unix;
                // An agent may take its time: a key wants to be touched.
                tokio::task::spawn_blocking(move || {
                    let made = {
                        let until =
                            |seconds: u32| unix.saturating_add_signed(apart).saturating_add(seconds.into());
                        let saying = letter::Saying { answer, lease: lease.map(until), counter, now: unix };
                        letter::decide(&verified, &saying, &device)
                    };
                    // The loop is gone when the program ends.
                    let _ = inputs.blocking_send(Input::Signed(key, made));
                });
            }
            Order::Send(key, server, sealed) => {
                let Some(client) = self.clients.get(&server).cloned() else { return Ok(()) };
                tokio::spawn(async move {
                    let result = client.post_decision(&sealed).await.map_err(|e| e.to_string());
                    let _ = inputs.send(Input::Sent(key, result)).await;
                });
            }
        }
        Ok(())
    }

    /// Why an answer is not sent, and what an approval has in its place.
    fn with_code(&self, key: &Key, why: String) -> String {
        let approved = self.inbox.get(key).filter(|item| {
            let is_yes = matches!(item.phase, Phase::Decided { answer: Answer::Approve, .. });
            is_yes && item.verified.request.kind != Kind::Test
        });
        match approved.and_then(|item| letter::unsent_code(&item.verified, &self.device)) {
            Some(code) => {
                format!("{why}; if it stays so, type {} at the login instead", screen::grouped(&code))
            }
            None => why,
        }
    }

    fn draw(&mut self) -> Outcome {
        let now = self.now();
        let Face::Screen(terminal) = &mut self.face else { return Ok(()) };
        let (width, height) = terminal.size()?;
        let leaf = self.leaf.take();
        let view = View { width, height, now, time_of: time };
        let page = leaf.as_ref().and_then(|leaf| listing::draw(&self.inbox, leaf, &view));
        self.leaf = leaf.filter(|_| page.is_some());
        let drawn = page.unwrap_or_else(|| screen::draw(&self.inbox, &self.device.card.card.name, &view));
        if self.drawn.as_ref() != Some(&drawn) {
            terminal.show(&drawn.lines)?;
            self.drawn = Some(drawn);
        }
        Ok(())
    }
}

/// The list of a request, opened and found to be the one that was signed.
async fn fetch(client: &RelayClient, verified: &Verified) -> Result<String, String> {
    let request = &verified.request;
    let described = request.list.as_ref().ok_or("it has none")?;
    let sealed = client.list(&verified.host, &request.id).await.map_err(|error| match error.code() {
        Some("not-found") => "the server does not have it; the machine brings it again".to_owned(),
        _ => error.to_string(),
    })?;
    list::open(described, &request.id, &sealed).map_err(|error| error.to_string())
}

/// Reads lines until the end of input; watching goes on after it.
fn read_lines(inputs: &Sender<Input>) {
    let mut stdin = std::io::stdin().lock();
    loop {
        let mut line = String::new();
        match stdin.by_ref().take(MAX_LINE).read_line(&mut line) {
            Ok(n) if n > 0 => {
                if inputs.blocking_send(Input::Line(line)).is_err() {
                    return;
                }
            }
            // Bytes that are no text end it as well.
            _ => return,
        }
    }
}

/// What is said where nothing is paired yet.
#[must_use]
pub fn nothing_paired() -> Failure {
    Failure::new(
        Exit::Refused,
        "this approver is paired with no host: run countersign pair USER there, then countersign approve --pair LINK here",
    )
}
