use super::super::popup;
use super::super::testing::{Bus, Service, logind, press};
use super::*;
use crate::approver::inbox::{Inbox, Now};
use crate::approver::testing::{request, verified};
use countersign_protocol::message::Request;

const ALL: &[&str] = &["actions", "body", "body-markup"];
const NOW: Now = Now { ms: 0, unix: 1_000_000 };

fn inbox_with(requests: &[Request]) -> Inbox {
    let mut inbox = Inbox::default();
    for request in requests {
        inbox.arrive(verified(request.clone()), NOW);
    }
    inbox
}

fn popups(inbox: &Inbox) -> Vec<Popup> {
    popup::wanted(inbox, &BTreeMap::new(), NOW, |t| t.to_string())
}

/// The task under test, on a bus without logind.
struct Running {
    bus: Bus,
    wanted: watch::Sender<Vec<Popup>>,
    said: mpsc::Receiver<Input>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn on(bus: Bus) -> Self {
        let (wanted, seen) = watch::channel(Vec::new());
        let (inputs, said) = mpsc::channel(16);
        let buses = Buses { session: Some(bus.address.clone()), system: Some(bus.address.clone()) };
        let task = tokio::spawn(run(seen, inputs, buses, std::time::Instant::now()));
        Self { bus, wanted, said, task }
    }

    fn want(&self, inbox: &Inbox) {
        self.wanted.send(popups(inbox)).unwrap();
    }

    async fn hear(&mut self) -> Said {
        match timeout(Duration::from_secs(8), self.said.recv()).await.expect("nothing was said").unwrap() {
            Input::Desktop(said) => said,
            other => panic!("{other:?}"),
        }
    }

    async fn notice(&mut self) -> String {
        match self.hear().await {
            Said::Notice(text) => text,
            other => panic!("{other:?}"),
        }
    }

    /// Nothing is said for a while.
    async fn silent(&mut self) {
        let heard = timeout(Duration::from_millis(300), self.said.recv()).await;
        assert!(heard.is_err(), "{heard:?}");
    }

    async fn end(self) {
        drop(self.wanted);
        timeout(Duration::from_secs(5), self.task).await.unwrap().unwrap();
    }
}

/// A popup needs to be looked at.
async fn look() {
    tokio::time::sleep(LOOK_FIRST + Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_request_is_raised_with_all_that_matters_and_a_button_answers_it() {
    let bus = Bus::start();
    let service = Service::start(&bus, ALL).await;
    let mut running = Running::on(bus);
    running.want(&inbox_with(&[request("a")]));
    let shown = service.shown(1).await;
    assert_eq!(shown.summary, "alice wants to log in to web1");
    assert!(shown.body.contains("from: 192.0.2.7 port 50122"), "{shown:?}");
    assert!(shown.body.contains("service: sshd"), "{shown:?}");
    assert_eq!((shown.urgency, shown.replaces), (2, 0));
    assert!((58_000..=60_000).contains(&shown.expire), "{shown:?}");
    assert_eq!(
        shown.buttons,
        ["approve", "Approve", "deny", "Deny", "report", "It wasn't me", "default", "Keep showing"]
    );
    service.press(shown.id, "approve").await;
    assert!(matches!(running.hear().await, Said::Refused(key, _) if key.id == "a"), "nobody reads that fast");
    look().await;
    for (button, wanted) in [("approve", Answer::Approve), ("deny", Answer::Deny), ("report", Answer::Report)]
    {
        service.press(shown.id, button).await;
        match running.hear().await {
            Said::Answer(answer, popup) => {
                assert_eq!((answer, popup.request().unwrap().id.as_str()), (wanted, "a"))
            }
            other => panic!("{other:?}"),
        }
    }
    running.end().await;
    service.closed(shown.id).await;
}

#[tokio::test]
async fn only_the_services_own_word_about_what_stands_is_believed() {
    let bus = Bus::start();
    let service = Service::start(&bus, ALL).await;
    let stranger = bus.join().await;
    let mut running = Running::on(bus);
    running.want(&inbox_with(&[request("a")]));
    let shown = service.shown(1).await;
    look().await;
    // To everybody, and to this one alone: the bus says who sent it.
    press(&stranger, shown.id, "approve").await;
    let own = running.bus.join().await;
    for n in 0..4 {
        let to = format!(":1.{n}");
        own.emit_signal(Some(to.as_str()), PATH, NAME, "ActionInvoked", &(shown.id, "approve"))
            .await
            .unwrap();
    }
    service.press(shown.id + 1, "approve").await;
    service.press(shown.id, "approve-all").await;
    service.press(shown.id, "").await;
    running.silent().await;
    service.press(shown.id, "deny").await;
    assert!(matches!(running.hear().await, Said::Answer(Answer::Deny, _)));
}

#[tokio::test]
async fn a_change_replaces_and_what_is_over_goes() {
    let bus = Bus::start();
    let service = Service::start(&bus, ALL).await;
    let mut running = Running::on(bus);
    running.want(&inbox_with(&[request("a")]));
    let first = service.shown(1).await;
    look().await;
    // A second request of the same person: both popups say so, and pressing needs another look.
    let mut second = request("b");
    second.remote.as_mut().unwrap().address = "198.51.100.9".into();
    running.want(&inbox_with(&[request("a"), second]));
    let (changed, other) = (service.shown(2).await, service.shown(3).await);
    assert_eq!((changed.replaces, changed.id), (first.id, first.id));
    assert!(changed.body.contains("more than one request open. They differ in: from."), "{changed:?}");
    assert_ne!(other.id, first.id);
    service.press(first.id, "approve").await;
    assert!(matches!(running.hear().await, Said::Refused(key, _) if key.id == "a"));
    look().await;
    // One goes, so the other one may have moved under the pointer.
    running.want(&inbox_with(&[request("a")]));
    service.closed(other.id).await;
    service.press(first.id, "approve").await;
    assert!(matches!(running.hear().await, Said::Refused(..)));
    running.wanted.send(Vec::new()).unwrap();
    service.closed(first.id).await;
    service.press(first.id, "approve").await;
    running.silent().await;
}

#[tokio::test]
async fn what_the_person_took_away_stays_away_and_a_press_on_the_text_keeps_it() {
    let bus = Bus::start();
    let service = Service::start(&bus, ALL).await;
    let mut running = Running::on(bus);
    running.want(&inbox_with(&[request("a")]));
    let shown = service.shown(1).await;
    // As services do: the press, then the end of the popup.
    service.press(shown.id, "default").await;
    service.dismiss(shown.id).await;
    let again = service.shown(2).await;
    assert_eq!(again.summary, shown.summary);
    running.silent().await;
    service.dismiss(again.id).await;
    let mut alarmed = inbox_with(&[request("a")]);
    alarmed.alarm("somebody cheats".into());
    running.want(&alarmed);
    let alarm = service.shown(3).await;
    assert_eq!(
        (alarm.summary.as_str(), alarm.body.as_str(), alarm.expire),
        ("Countersign: ALARM", "somebody cheats", 0)
    );
    assert_eq!(alarm.buttons, ["default", "Keep showing"], "an alarm cannot be approved");
    running.silent().await;
    assert_eq!(service.count(), 3);
}

#[tokio::test]
async fn a_flood_of_alarms_is_one_popup_that_changes_slowly() {
    let bus = Bus::start();
    let service = Service::start(&bus, ALL).await;
    let running = Running::on(bus);
    let mut inbox = Inbox::default();
    for n in 0..20 {
        inbox.alarm(format!("alarm {n}"));
        running.want(&inbox);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(service.count(), 1);
    // Requests do not wait for it.
    inbox.arrive(verified(request("a")), NOW);
    running.want(&inbox);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(service.count(), 2);
    assert_eq!(service.shown(2).await.summary, "alice wants to log in to web1");
    let last = service.shown(3).await;
    assert!(last.body.starts_with("alarm 19"), "{last:?}");
    assert_eq!(last.replaces, service.shown(1).await.id);
}

#[tokio::test]
async fn a_service_that_is_missing_dies_or_hangs_is_said_once_and_tried_again() {
    let mut running = Running::on(Bus::start());
    assert!(running.notice().await.contains("no notification service"));
    running.want(&inbox_with(&[request("a")]));
    tokio::time::sleep(RETRY).await;
    running.silent().await;
    let service = Service::start(&running.bus, ALL).await;
    let first = service.shown(1).await;
    assert!(running.notice().await.contains("work again"));
    // It crashes and another one comes: its numbers are others.
    service.die().await;
    assert!(running.notice().await.contains("no notification service"));
    let second = Service::start(&running.bus, ALL).await;
    assert_eq!(second.shown(1).await.summary, first.summary);
    assert!(running.notice().await.contains("work again"));
    second.hang();
    running.want(&inbox_with(&[request("a"), request("b")]));
    assert!(running.notice().await.contains("no answer"));
    drop(second);
    running.bus.stop();
    running.end().await;
}

#[tokio::test]
async fn without_a_bus_it_is_said_once_and_the_end_is_quick() {
    let mut bus = Bus::start();
    bus.stop();
    let mut running = Running::on(bus);
    assert!(running.notice().await.starts_with("no desktop notifications: "));
    running.want(&inbox_with(&[request("a")]));
    running.silent().await;
    running.end().await;
}

#[tokio::test]
async fn a_locked_screen_refuses_an_approval_and_lets_a_denial_pass() {
    for (locked, approves) in [(Some(true), false), (Some(false), true), (None, false)] {
        let bus = Bus::start();
        let service = Service::start(&bus, ALL).await;
        let logind = logind(&bus, locked).await;
        let mut running = Running::on(bus);
        running.want(&inbox_with(&[request("a")]));
        let shown = service.shown(1).await;
        look().await;
        service.press(shown.id, "approve").await;
        match running.hear().await {
            Said::Answer(Answer::Approve, _) => assert!(approves, "{locked:?}"),
            Said::Refused(_, why) => assert!(!approves && why.contains("locked"), "{locked:?} {why}"),
            other => panic!("{other:?}"),
        }
        service.press(shown.id, "deny").await;
        assert!(matches!(running.hear().await, Said::Answer(Answer::Deny, _)), "{locked:?}");
        logind.abort();
    }
}

#[tokio::test]
async fn no_text_of_a_host_is_markup_a_link_or_a_button() {
    let mut evil = request("a");
    evil.service = "<b>sshd</b>&amp;".into();
    evil.user = "https://evil.example".into();
    evil.command = Some("<a href='x'>ok</a> https://evil.example www.evil.example\u{202e}".into());
    let bus = Bus::start();
    let service = Service::start(&bus, ALL).await;
    let running = Running::on(bus);
    running.want(&inbox_with(&[evil.clone()]));
    let shown = service.shown(1).await;
    assert!(shown.body.contains("service: &lt;b&gt;sshd&lt;/b&gt;&amp;amp;"), "{shown:?}");
    assert!(!shown.body.contains(['<', '>', '\u{202e}']), "{shown:?}");
    for link in ["://", "www."] {
        assert!(!shown.body.contains(link) && !shown.summary.contains(link), "{shown:?}");
    }
    assert_eq!(shown.buttons.len(), 8);
    running.end().await;

    // A service that reads no markup would show the escapes themselves.
    let bus = Bus::start();
    let service = Service::start(&bus, &["body"]).await;
    let running = Running::on(bus);
    running.want(&inbox_with(&[evil]));
    let shown = service.shown(1).await;
    assert!(shown.body.contains("service: <b>sshd</b>&amp;"), "{shown:?}");
    assert!(shown.body.contains("have no buttons"), "{shown:?}");
    assert!(shown.buttons.is_empty(), "{shown:?}");
    running.end().await;
}
