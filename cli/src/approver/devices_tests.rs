use super::*;
use countersign_protocol::notice;

const OWN: &str = "own";
const NOW: u64 = 1000;

fn key() -> Key {
    Key { host: "HOST".into(), id: notice::id("alice") }
}

/// Alice's devices, each with when it was paired.
fn word(issued_at: u64, event: Option<(DeviceChange, &str)>, devices: &[(&str, u64)]) -> Notice {
    let event = event.map(|(what, id)| DeviceEvent { what, device: id.into(), name: id.to_uppercase() });
    let device = |&(id, paired_at): &(&str, u64)| NoticeDevice {
        id: id.into(),
        name: id.to_uppercase(),
        paired_at,
        last_used_at: Some(issued_at),
    };
    let devices = devices.iter().map(device).collect();
    notice::fitted("alice", String::new(), event, devices, issued_at)
}

struct Scene(Devices);

impl Scene {
    /// That knows this list from its start on.
    fn knowing(devices: &[(&str, u64)]) -> Self {
        let mut scene = Self(Devices { own: OWN.into(), known: BTreeMap::new() });
        assert_eq!(scene.hears(&word(100, None, devices)), Some(Vec::new()), "a first list is no news");
        scene
    }

    /// What comes of it, as `+device` and `-device`.
    fn hears(&mut self, notice: &Notice) -> Option<Vec<String>> {
        let digest = countersign_protocol::digest::sha256_hex(&serde_json::to_vec(notice).unwrap());
        let news = self.0.hear(&key(), notice, &digest, NOW)?;
        let sign = |what| if what == DeviceChange::Paired { '+' } else { '-' };
        Some(news.iter().map(|event| format!("{}{}", sign(event.what), event.device)).collect())
    }

    /// As after a restart.
    fn again(self) -> Self {
        let kept = serde_json::to_string(&self.0.of("HOST")).unwrap();
        Self(Devices::new(OWN.into(), [("HOST".into(), serde_json::from_str(&kept).unwrap())]))
    }
}

fn some(news: &[&str]) -> Option<Vec<String>> {
    Some(news.iter().map(|&text| text.to_owned()).collect())
}

const PAIRED: DeviceChange = DeviceChange::Paired;
const REMOVED: DeviceChange = DeviceChange::Removed;

#[test]
fn an_event_that_was_overwritten_is_told_by_the_list() {
    let mut scene = Scene::knowing(&[(OWN, 90), ("old", 2)]);
    // A tablet came and the old phone went; what arrives is the daily list after that.
    let list = [(OWN, 90), ("tablet", 150)];
    assert_eq!(scene.hears(&word(200, None, &list)), some(&["-old", "+tablet"]));
    assert_eq!(scene.hears(&word(300, None, &list)), some(&[]), "once");
}

#[test]
fn a_first_list_tells_what_was_paired_after_this_device() {
    let scene = || Scene(Devices { own: OWN.into(), known: BTreeMap::new() });
    let list = [("old", 1), (OWN, 90), ("thief", 95)];
    assert_eq!(scene().hears(&word(100, None, &list)), some(&["+thief"]));
    let event = Some((REMOVED, "older"));
    assert_eq!(scene().hears(&word(100, event, &list)), some(&["+thief", "-older"]));
    assert_eq!(scene().hears(&word(100, Some((PAIRED, "thief")), &list)), some(&["+thief"]), "once");
}

#[test]
fn a_clock_that_was_wrong_once_does_not_silence_a_machine() {
    let mut scene = Scene::knowing(&[(OWN, 90)]);
    let far = NOW + MAX_AHEAD + 1;
    assert_eq!(scene.hears(&word(far, Some((PAIRED, "a")), &[(OWN, 90), ("a", far)])), None);
    // Kept by a version that believed it, or by a clock of here that was wrong, too.
    let known = scene.0.known.values_mut().next().unwrap();
    known.issued_at = far;
    let list = [(OWN, 90), ("a", 150)];
    assert_eq!(scene.hears(&word(150, Some((PAIRED, "a")), &list)), some(&["+a"]));
    assert_eq!(scene.hears(&word(140, None, &[(OWN, 90)])), None, "an old one");
}

#[test]
fn what_was_told_is_not_told_again_in_any_order_nor_after_a_restart() {
    let mut scene = Scene::knowing(&[(OWN, 90)]);
    let list = [(OWN, 90), ("tablet", 150)];
    let event = word(150, Some((PAIRED, "tablet")), &list);
    assert_eq!(scene.hears(&event), some(&["+tablet"]));
    // A server that was restarted, or a new stream, brings the same again.
    assert_eq!(scene.hears(&event), None);
    let mut scene = scene.again();
    assert_eq!(scene.hears(&event), None);
    assert_eq!(scene.hears(&word(120, Some((REMOVED, "tablet")), &[(OWN, 90)])), None, "an old one");
    // Of the same second, the list first.
    assert_eq!(scene.hears(&word(400, None, &[(OWN, 90)])), some(&["-tablet"]));
    let mut scene = scene.again();
    let event = word(400, Some((REMOVED, "tablet")), &[(OWN, 90)]);
    assert_eq!((scene.hears(&event), scene.hears(&event)), (some(&[]), None));
    // The list of that second has not been forgotten for it.
    assert_eq!(scene.hears(&word(400, None, &[(OWN, 90)])), None);
}

#[test]
fn a_device_that_comes_again_is_news_each_time() {
    let mut scene = Scene::knowing(&[(OWN, 90), ("tablet", 50)]);
    assert_eq!(scene.hears(&word(200, None, &[(OWN, 90), ("tablet", 150)])), some(&["+tablet"]));
    assert_eq!(scene.hears(&word(300, None, &[(OWN, 90)])), some(&["-tablet"]));
    let mut scene = scene.again();
    assert_eq!(scene.hears(&word(400, None, &[(OWN, 90), ("tablet", 350)])), some(&["+tablet"]));
    assert_eq!(scene.hears(&word(500, None, &[(OWN, 90)])), some(&["-tablet"]));
}

#[test]
fn this_device_itself_is_no_news() {
    let mut scene = Scene::knowing(&[(OWN, 90)]);
    assert_eq!(scene.hears(&word(200, Some((PAIRED, OWN)), &[(OWN, 150)])), some(&[]));
    assert_eq!(scene.hears(&word(300, Some((REMOVED, OWN)), &[])), some(&[]));
}

#[test]
fn what_had_no_room_in_a_list_has_neither_come_nor_gone() {
    let mut scene = Scene::knowing(&[(OWN, 90), ("a", 2)]);
    let cut = |issued_at, devices: &[(&str, u64)]| Notice { more: 1, ..word(issued_at, None, devices) };
    assert_eq!(scene.hears(&cut(200, &[(OWN, 90)])), some(&[]), "a may be the one without room");
    assert_eq!(scene.hears(&cut(300, &[(OWN, 90), ("a", 2), ("new", 250)])), some(&["+new"]));
    assert_eq!(scene.hears(&word(400, None, &[(OWN, 90)])), some(&["-a", "-new"]));
}

#[test]
fn a_machine_fills_its_own_room_only() {
    let mut devices = Devices::default();
    let mut hear = |host: &str, user: &str| {
        let notice = notice::fitted(user, String::new(), None, Vec::new(), 1);
        devices.hear(&Key { host: host.into(), id: notice.id.clone() }, &notice, user, NOW).is_some()
    };
    let users: Vec<String> = (0..=MAX_USERS).map(|n| format!("user{n}")).collect();
    assert_eq!(users.iter().filter(|user| hear("one", user)).count(), MAX_USERS);
    assert!(hear("two", "alice"));
    assert_eq!((devices.of("one").len(), devices.of("two").len()), (MAX_USERS, 1));
}

/// One machine's lists at their longest stay far below what the directory reads.
#[test]
fn what_is_kept_of_a_machine_has_a_bound() {
    let mut devices = Devices::default();
    for user in 0..MAX_USERS {
        for second in 0..40 {
            // Each time others, whose names JSON makes six times as long.
            let id = |n: u64| format!("{:0>43}", second * 100 + n);
            let device = |n| NoticeDevice {
                id: id(n),
                name: "\u{1}".repeat(64),
                paired_at: u64::MAX,
                last_used_at: None,
            };
            let list = (0..32).map(device).collect();
            let notice = notice::fitted(&format!("user{user}"), String::new(), None, list, second);
            let key = Key { host: "HOST".into(), id: notice.id.clone() };
            devices.hear(&key, &notice, &format!("{second:0>64}"), NOW);
        }
    }
    let kept = serde_json::to_vec_pretty(&devices.of("HOST")).unwrap();
    assert!(kept.len() < 512 * 1024, "{} bytes", kept.len());
}
