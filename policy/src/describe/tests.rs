use countersign_protocol::message::{Remote, SshKey};

use super::*;
use crate::{Config, Membership, read};

fn config(text: &str) -> Config {
    read(&format!("server = \"https://push.example.com\"\n{text}")).unwrap()
}

/// alice, from this machine, on the day of the design.
fn login(service: &str, stage: Stage) -> Situation<'_> {
    Situation {
        service,
        stage,
        user: "alice",
        groups: Membership::default(),
        requester: None,
        remote: None,
        host: "db-1",
        terminal: None,
        ssh_key: None,
        command: None,
        new_source: false,
        action: None,
        origins: &[],
        now: "2026-11-23T12:00:00Z".parse().unwrap(),
        zone: TimeZone::UTC,
    }
}

fn of(text: &str, service: &str, stage: Stage) -> Meaning {
    meaning(&config(&format!("[default]\n{text}")).default, &login(service, stage), false)
}

fn from_elsewhere() -> Remote {
    Remote { address: "192.0.2.7".to_owned(), port: None, source: RemoteSource::Kernel }
}

fn key() -> SshKey {
    SshKey { fingerprint: format!("SHA256:{}", "a".repeat(43)), key_type: "ssh-ed25519".to_owned() }
}

#[test]
fn the_default_is_told_as_it_is() {
    let meaning = of("", "sshd", Stage::Auth);
    assert_eq!(
        meaning.online,
        [
            "the user's phone is asked, for 60 s",
            "the code that it shows is typed at the prompt; where nothing can be asked approving it is enough",
            "also taken at the prompt: a recovery code",
            "who has no device is refused, after the same prompts",
        ]
    );
    assert_eq!(meaning.offline, ["taken at the prompt: a recovery code"]);
    let session = of("", "sshd", Stage::Session);
    assert_eq!(session.online[1], "approving it is enough");
    assert!(session.offline[0].starts_with("refused"));
}

#[test]
fn a_program_with_one_field_gets_a_tap_or_nothing() {
    let meaning = of("offline = [\"totp\"]", "i3lock", Stage::Auth);
    assert_eq!(
        meaning.online,
        [
            "the user's phone is asked, for 60 s",
            "approving it is enough: i3lock has one field, in which no code can be typed",
            "who has no device is refused, after the same prompts",
        ]
    );
    assert_eq!(
        meaning.offline,
        ["refused, within 3 s, with the reason: i3lock has one field, in which no code can be typed"]
    );
    let refused = "refused at once: i3lock has one field, in which no code can be typed, and \"without_prompt\" refuses";
    let meaning = of("without_prompt = \"refuse\"", "i3lock", Stage::Auth);
    assert_eq!((meaning.online, meaning.offline), (vec![refused.to_owned()], vec![refused.to_owned()]));
    let tap = of("without_prompt = \"refuse\"\nconfirm = \"tap\"", "i3lock", Stage::Auth);
    assert_eq!(tap.online[1], "approving it is enough");
}

#[test]
fn what_asks_nobody_says_so_and_observing_says_that_it_lets_pass() {
    for (text, begins) in [("then = \"skip\"", "let pass"), ("then = \"deny\"", "refused")] {
        let meaning = of(text, "sudo", Stage::Auth);
        assert_eq!(meaning.online, meaning.offline);
        assert!(meaning.online[0].starts_with(begins));
    }
    let observed = of("then = \"observe\"\ncodes = []\n", "sudo", Stage::Auth);
    for lines in [observed.online, observed.offline] {
        assert!(lines[0].starts_with("nobody is refused"), "{lines:?}");
    }
}

#[test]
fn whose_phone_it_is_depends_on_who_becomes_whom() {
    let whose = |text: &str, service: &str, requester: Option<&str>, is_root: bool| {
        let login = Situation { requester, ..login(service, Stage::Auth) };
        meaning(&config(text).default, &login, is_root).online[0].clone()
    };
    let caller = "[default]\nask = \"caller\"\n";
    assert!(whose("", "su", None, true).starts_with("the caller's phone"));
    assert!(whose("", "su", Some("bob"), true).starts_with("the phone of bob"));
    assert!(whose("", "su", Some("bob"), false).starts_with("the user's phone"));
    assert!(whose(caller, "su", Some("bob"), false).starts_with("the phone of bob"));
    assert!(whose(caller, "sshd", Some("bob"), true).starts_with("the user's phone"));
    assert!(whose("", "ask", Some("bob"), true).starts_with("the phone of bob"));
    assert!(whose("", "ask", None, true).contains("behind it"));
    assert!(whose(caller, "ask", Some("bob"), false).starts_with("the user's phone"));
}

#[test]
fn a_lease_is_told_for_both() {
    let with = |text: &str| {
        let (remote, key) = (from_elsewhere(), key());
        let login = Situation { remote: Some(&remote), ssh_key: Some(&key), ..login("sshd", Stage::Session) };
        meaning(&config(&format!("[default]\ncodes = []\n{text}\n")).default, &login, false)
    };
    let meaning = with("lease = { up_to = \"90m\", uses = 20 }\noffline = [\"lease\"]");
    assert!(meaning.online[2].contains("of up to 90 min, for 20 logins at most"), "{meaning:?}");
    assert_eq!(meaning.offline[0], "a lease that was granted before lets in, unasked");
    assert!(meaning.offline[1].starts_with("otherwise refused"), "{meaning:?}");
    let meaning = with("lease = \"8h\"");
    assert!(meaning.online[2].contains("of up to 8 h:"), "{meaning:?}");
    assert_eq!(meaning.offline[0], "a lease is not taken");
    assert!(with("offline = [\"lease\"]").offline[0].starts_with("refused"));
}

#[test]
fn no_lease_is_offered_where_none_can_hold() {
    let config = config("[default]\nlease = \"8h\"\noffline = [\"lease\"]\n");
    let (remote, key) = (from_elsewhere(), key());
    for (service, remote, key, is_root, told) in [
        ("sshd", Some(&remote), Some(&key), false, "may grant a lease"),
        ("sudo", None, None, true, "may grant a lease"),
        ("sshd", Some(&remote), Some(&key), true, "root's own account"),
        ("sshd", Some(&remote), None, false, "say --key"),
        ("sshd", None, Some(&key), false, "say --key and --from"),
        ("login", None, None, false, "leases are for ssh"),
        ("ask", None, None, true, "asked for each time"),
    ] {
        let login = Situation { remote, ssh_key: key, ..login(service, Stage::Auth) };
        let meaning = meaning(&config.default, &login, is_root);
        assert!(meaning.online[3].contains(told), "{meaning:?}");
        let offline = meaning.offline[0].starts_with("a lease");
        assert_eq!(offline, told == "may grant a lease", "{meaning:?}");
    }
}

#[test]
fn a_date_and_a_wait_are_those_that_hold() {
    let meaning = of("wait = \"10m\"\nunenrolled = { skip_until = 2027-03-01 }\n", "sshd", Stage::Auth);
    assert!(meaning.online[0].ends_with("for 120 s"), "{meaning:?}");
    assert!(meaning.online[3].ends_with("until 2027-03-01"), "{meaning:?}");
    for service in ["sudo", "ask"] {
        assert!(of("wait = \"10m\"", service, Stage::Auth).online[0].ends_with("for 600 s"));
    }
}

#[test]
fn a_day_that_has_come_lets_nobody_pass() {
    for (date, told) in [("2026-11-24", "who never had a device is let pass"), ("2026-11-23", "who has no")] {
        let meaning = of(&format!("unenrolled = {{ skip_until = {date} }}\n"), "sshd", Stage::Auth);
        assert!(meaning.online[3].starts_with(told), "{meaning:?}");
    }
    let allowed = |service: &str, date: &str, remote: Option<&Remote>| {
        let rules = config(&format!(
            "[[rule]]\nname = \"x\"\nwhen = {{ user = \"alice\", remote = false }}\nthen = \"approve\"\n\
             offline = [{{ allow_until = {date} }}]\n"
        ));
        let login = Situation { remote, ..login(service, Stage::Auth) };
        meaning(rules.rules.first().unwrap(), &login, false).offline[0].contains("without anything")
    };
    assert!(allowed("login", "2026-11-24", None) && allowed("swaylock", "2026-11-24", None));
    assert!(!allowed("login", "2026-11-23", None), "the day has come");
    for service in ["sudo", "su", "polkit-1", "sshd"] {
        assert!(!allowed(service, "2026-11-24", None), "{service}");
    }
    assert!(!allowed("login", "2026-11-24", Some(&from_elsewhere())));
}

#[test]
fn a_session_that_takes_no_tap_is_refused_before_anybody_is_asked() {
    let meaning = of("without_prompt = \"refuse\"\n", "sshd", Stage::Session);
    let at_once = "refused at once: this stage cannot ask for a code, and \"without_prompt\" refuses";
    assert_eq!(meaning.online, [at_once]);
    assert_eq!(meaning.offline, [at_once]);
}

#[test]
fn a_window_is_promised_no_qr_code() {
    for (service, shown) in [("sshd", true), ("login", true), ("gdm-password", false), ("xsecurelock", false)]
    {
        let meaning = of("codes = [\"phone-code\"]\n", service, Stage::Auth);
        assert_eq!(!meaning.offline[0].contains("do not show"), shown, "{service}");
    }
}

#[test]
fn what_needs_no_password_says_where() {
    let text = "[default]\nlease = \"8h\"\n[[rule]]\nname = \"desk\"\nthen = \"approve\"\npasswordless = true\n\
                when = { service = \"lightdm\", user = \"alice\", remote = false }\n";
    let told = meaning(&config(text).rules[0], &login("lightdm", Stage::Auth), false);
    assert_eq!(
        told.online,
        [
            "the user's phone is asked, for 60 s",
            "the code that it shows is typed at the prompt; where nothing can be asked it is refused",
            "no password is wanted before it where the service's PAM line says \"passwordless\"",
            "who has no device is refused, after the same prompts",
        ]
    );
    assert_eq!(told.offline, ["refused, within 3 s, with the reason"]);
}
