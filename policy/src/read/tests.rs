use std::time::Duration;

use super::read;
use crate::{Ask, Confirm, Factor, Hook, Rule, Then, Unenrolled, When, WithoutPrompt};

const SERVER: &str = "server = \"https://push.example.com\"\n";

fn faults(source: &str) -> Vec<String> {
    read(source).unwrap_err().iter().map(|fault| fault.line("c", source)).collect()
}

#[test]
fn one_line_is_a_policy_and_the_default_is_to_ask() {
    let config = read(SERVER).unwrap();
    assert_eq!(config.server, "https://push.example.com");
    assert_eq!(
        config.default,
        Rule {
            name: "default".into(),
            when: When::default(),
            then: Then::Approve,
            confirm: Confirm::Code,
            without_prompt: WithoutPrompt::Tap,
            wait: Duration::from_secs(60),
            codes: vec![Factor::Recovery],
            offline: vec![],
            allow_until: None,
            lease: None,
            unenrolled: Unenrolled::Deny,
            ask: Ask::User,
            approvals: None,
            passwordless: false,
        }
    );
}

#[test]
fn every_key_is_read() {
    let config = read(
        "server = \"http://127.0.0.1:8443/\"\nserver_ca = \"/etc/ca.pem\"\napp = \"https://Approve.example.com/\"\n\
         host_name = \"db-1\"\n[default]\n\
         then = \"observe\"\nconfirm = \"tap\"\nwithout_prompt = \"refuse\"\nwait = \"2m\"\n\
         codes = [\"recovery\"]\noffline = [\"recovery\"]\nunenrolled = { skip_until = 2027-03-01 }\n\
         ask = \"caller\"\n",
    )
    .unwrap();
    assert_eq!(config.server, "http://127.0.0.1:8443");
    assert_eq!(config.server_ca, Some("/etc/ca.pem".into()));
    assert_eq!(config.app.as_deref(), Some("https://approve.example.com"));
    assert_eq!(config.host_name.as_deref(), Some("db-1"));
    let rule = config.default;
    assert_eq!((rule.then, rule.confirm, rule.ask), (Then::Observe, Confirm::Tap, Ask::Caller));
    assert_eq!((rule.without_prompt, rule.wait), (WithoutPrompt::Refuse, Duration::from_secs(120)));
    assert_eq!((rule.codes, rule.offline), (vec![Factor::Recovery], vec![Factor::Recovery]));
    assert_eq!(rule.unenrolled, Unenrolled::SkipUntil(1_803_859_200));
}

#[test]
fn letting_in_without_a_factor_is_for_named_local_users_until_a_day() {
    let rule = |when: &str, offline: &str| {
        format!(
            "{SERVER}[default]\noffline = [\"totp\"]\n[[rule]]\nname = \"x\"\nthen = \"approve\"\n\
             when = {{ {when} }}\noffline = [{offline}]\n"
        )
    };
    const WHEN: &str = "remote = false, user = [\"alice\", \"bob\"]";
    const ALLOW: &str = "{ allow_until = 2027-03-01 }";
    let config = read(&rule(WHEN, &format!("\"recovery\", {ALLOW}"))).unwrap();
    assert_eq!(config.rules[0].offline, [Factor::Recovery]);
    assert_eq!((config.rules[0].allow_until, config.default.allow_until), (Some(1_803_859_200), None));
    for when in [
        "",
        "remote = false",
        "user = \"alice\"",
        "remote = true, user = \"alice\"",
        "remote = false, user = \"a*\"",
        "remote = false, user = [\"alice\", \"!bob\"]",
    ] {
        let told = faults(&rule(when, ALLOW));
        assert!(
            told.len() == 1 && told[0].starts_with("c:8:12: \"allow_until\" lets in without"),
            "{told:?}"
        );
    }
    for offline in ["{ allow_until = true }", "{}", "{ allow = 2027-03-01 }", &format!("{ALLOW}, {ALLOW}")] {
        assert_eq!(faults(&rule(WHEN, offline)).len(), 1, "{offline}");
    }
    assert_eq!(faults(&format!("{SERVER}[default]\noffline = [{ALLOW}]\n")).len(), 1);
}

#[test]
fn the_example_is_valid_and_says_the_defaults() {
    let example = include_str!("../../countersign.example.toml");
    let config = read(example).unwrap();
    assert_eq!(config.default.then, Then::Approve);
    assert_eq!(config.default.codes, [Factor::Recovery]);
}

#[test]
fn a_bad_server_is_not_a_missing_one() {
    for bad in ["\"http://push.example.com\"", "\"https://push.example.com/path\"", "1"] {
        let told = faults(&format!("server = {bad}\n"));
        assert!(told.len() == 1 && told[0].starts_with("c:1:10: "), "{told:?}");
    }
}

#[test]
fn all_faults_of_a_file_are_told_each_with_its_place() {
    let source = "servr = \"https://x\"\n[default]\nthen = \"aprove\"\n  wait = \"never\"\ncodes = [\"recovery\", \
                  \"totq\", \"recovery\"]\nofline = []\nask = 1\n[[rule]]\nname = \"x\"\nwen = {}\n";
    assert_eq!(
        faults(source),
        [
            "c: there is no \"server\"; add: server = \"https://push.example.com\"",
            "c:1:1: \"servr\" is no key of the configuration; did you mean \"server\"?",
            "c:3:8: \"aprove\" is no value of \"then\"; did you mean \"approve\"?",
            "c:4:10: \"never\" is no time; write \"60s\" or \"2m\"",
            "c:5:22: \"totq\" is no value of \"codes\"; did you mean \"totp\"?",
            "c:5:30: this stands in the list twice",
            "c:6:1: \"ofline\" is no key of [default]; did you mean \"offline\"?",
            "c:7:7: \"ask\" has to be a text in quotes, not a number",
            "c:8:1: a rule says \"then\": approve, observe, skip, deny",
            "c:10:1: \"wen\" is no key of a rule; did you mean \"when\"?",
        ]
    );
}

#[test]
fn what_is_no_toml_is_told_with_its_place() {
    let told = faults("server = \"https://x\"\n[default\nthen = ]\n");
    assert!(told[0].starts_with("c:2:"), "{told:?}");
    let twice = faults(&format!("{SERVER}{SERVER}"));
    assert!(twice[0].starts_with("c:2:1: duplicate key"), "{twice:?}");
}

#[test]
fn later_factors_are_unknown_and_not_ignored() {
    for factor in ["allow", "fido"] {
        let source = format!("{SERVER}[default]\noffline = [\"{factor}\"]\n");
        assert_eq!(
            faults(&source),
            [format!(
                "c:3:12: \"{factor}\" is no value of \"offline\"; there is recovery, phone-code, totp, lease"
            )]
        );
    }
}

#[test]
fn only_an_origin_is_a_server_and_plain_http_only_here() {
    for good in [
        ("https://a.example", "https://a.example"),
        ("https://A.example:443/", "https://a.example"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://[::1]:1", "http://[::1]:1"),
    ] {
        assert_eq!(read(&format!("server = \"{}\"", good.0)).unwrap().server, good.1);
    }
    for bad in [
        "push.example.com",
        "http://push.example.com",
        "http://localhost.example.com",
        "ftp://a",
        "https://a/b",
        "https://a?b",
        "https://a#b",
        "https://u@a",
        "https://u:p@a",
        "https://",
        "",
    ] {
        assert!(read(&format!("server = \"{bad}\"")).is_err(), "{bad}");
    }
}

#[test]
fn waits_and_days_have_their_limits() {
    let with = |line: &str| read(&format!("{SERVER}[default]\n{line}\n"));
    for bad in ["4s", "601s", "11m", "-5s", "1h", "60", "s", "99999999999s", "4294967295m"] {
        assert!(with(&format!("wait = \"{bad}\"")).is_err(), "{bad}");
    }
    for bad in ["2027-02-30", "2027-03-01T00:00:00Z", "\"2027-03-01\"", "1969-01-01", "12:00:00"] {
        assert!(with(&format!("unenrolled = {{ skip_until = {bad} }}")).is_err(), "{bad}");
    }
    for bad in ["\"allow\"", "{}", "{ skip_until = 2027-03-01, x = 1 }", "true"] {
        assert!(with(&format!("unenrolled = {bad}")).is_err(), "{bad}");
    }
    let rule = with("wait = \"10m\"").unwrap().default;
    assert_eq!(rule.wait_for("sudo"), Duration::from_secs(600));
    assert_eq!(rule.wait_for("sshd"), Duration::from_secs(120));
    assert_eq!(rule.wait_for("anything"), Duration::from_secs(120));
}

fn rule(text: &str) -> String {
    format!("{SERVER}[[rule]]\nname = \"x\"\nthen = \"skip\"\n{text}\n")
}

#[test]
fn conditions_that_nobody_can_mean_are_faults() {
    for (text, told) in [
        (
            "when = { user = [\"!root\"] }",
            "\"user\" matches nothing; say what it matches before what it does not",
        ),
        ("when = { user = [] }", "\"user\" matches nothing"),
        ("when = { user = [1] }", "\"user\" has to be a text in quotes, not a number"),
        ("when = { group = [\"dev*\"] }", "a group is named in full"),
        ("when = { network = [\"10.0.0.1/8\"] }", "write the network or the address"),
        ("when = { network = [\"!10.0.0.0/8\"] }", "\"network\" matches nothing"),
        ("when = { hours = \"9-17\" }", "is no time of day"),
        ("when = { hours = [] }", "\"hours\" matches nothing"),
        ("when = { stage = \"account\" }", "\"account\" is no value of \"stage\"; there is auth, session"),
        ("when = { remote = \"yes\" }", "\"remote\" has to be true or false, not a text"),
        ("when = { ssh_key = \"MD5:00\" }", "SHA256:"),
        ("when = { ssh_key = \"SHA256:*\" }", "SHA256:"),
        ("when = { servce = \"sshd\" }", "\"servce\" is no key of \"when\"; did you mean \"service\"?"),
        ("when = \"sshd\"", "\"when\" has to be a table, not a text"),
    ] {
        let told_all = faults(&rule(text));
        assert_eq!(told_all.len(), 1, "{text}: {told_all:?}");
        assert!(told_all[0].starts_with("c:5:") && told_all[0].contains(told), "{text}: {told_all:?}");
    }
}

#[test]
fn rules_have_names_of_their_own_and_two_brackets() {
    for (text, told) in [
        ("[[rule]]\nthen = \"deny\"", "a rule needs a \"name\""),
        ("[[rule]]\nname = \"x\"\nthen = \"deny\"", "a rule called \"x\" is there already"),
        ("[[rule]]\nname = \"default\"\nthen = \"deny\"", "a rule called \"default\" is there already"),
        ("[[rule]]\nname = \"  \"\nthen = \"deny\"", "a name is 1 to 64 bytes of plain text"),
    ] {
        let told_all = faults(&rule(text));
        assert!(told_all.iter().any(|line| line.contains(told)), "{text}: {told_all:?}");
    }
    let single = faults(&format!("{SERVER}[rule]\nname = \"x\"\n"));
    assert!(single[0].contains("[[rule]], in two brackets"), "{single:?}");
}

#[test]
fn more_rules_than_anybody_reads_are_a_fault() {
    let one = |n: usize| format!("[[rule]]\nname = \"{n}\"\nthen = \"deny\"\n");
    let many: String = (0..=super::MAX_RULES).map(one).collect();
    assert!(faults(&format!("{SERVER}{many}"))[0].contains("more than 500 rules"));
}

#[test]
fn several_files_are_one_policy_and_say_things_once() {
    let one = |name: &str| format!("[[rule]]\nname = \"{name}\"\nthen = \"deny\"\n");
    let (first, second) = (one("first"), format!("{SERVER}{}", one("second")));
    let config = super::read_all(&[("a", &first), ("b", &second)]).unwrap();
    let names: Vec<&str> = config.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["first", "second"]);

    let twice = super::read_all(&[("a", SERVER), ("b", SERVER)]).unwrap_err();
    let (file, fault) = &twice[0];
    assert_eq!((*file, fault.line("b", SERVER).as_str()), (1, "b:1:10: \"server\" is set in a already"));
    // What is missing may stand in the one that cannot be read.
    let torn = super::read_all(&[("a", "["), ("b", &first)]).unwrap_err();
    assert!(torn.iter().all(|(file, _)| *file == 0), "{torn:?}");
}

#[test]
fn a_key_of_another_table_is_told_where_it_belongs() {
    let source = format!(
        "{SERVER}confirm = \"tap\"\n[default]\nserver_ca = \"/etc/ca.pem\"\nserverca = 1\n\
         [[rule]]\nname = \"x\"\nthen = \"skip\"\nuser = \"root\"\nwhen = {{ wait = \"1m\" }}\n"
    );
    assert_eq!(
        faults(&source),
        [
            "c:2:1: \"confirm\" is no key of the configuration; it belongs under [default]",
            "c:4:1: \"server_ca\" is no key of [default]; it belongs above [default]",
            "c:5:1: \"serverca\" is no key of [default]; there is codes, offline, then, confirm, without_prompt, \
             wait, lease, unenrolled, ask, approvals, passwordless",
            "c:9:1: \"user\" is no key of a rule; it belongs in its \"when\"",
            "c:10:10: \"wait\" is no key of \"when\"; it belongs beside \"when\"",
        ]
    );
}

#[test]
fn a_hook_is_a_list_that_begins_with_an_absolute_path() {
    let hook = |text: &str| read(&format!("server = \"https://a.example\"\nhook = {text}\n"));
    let config = hook("[\"/usr/sbin/told\", \"a b\"]").unwrap();
    assert_eq!(config.hook, Some(Hook { path: "/usr/sbin/told".into(), arguments: vec!["a b".into()] }));
    let long = format!("[\"/x\"{}]", ", \"y\"".repeat(16));
    for bad in ["\"/usr/sbin/told\"", "[]", "[\"told\"]", "[\"\"]", "[1]", "[\"/x\", \"\\u0000\"]", &long] {
        assert_eq!(hook(bad).unwrap_err().len(), 1, "{bad}");
    }
}

#[test]
fn every_key_is_in_the_documents() {
    let reference = include_str!("../../../docs/policy.md");
    let example = include_str!("../../countersign.example.toml");
    for key in super::KEYS.iter().chain(super::rule::KEYS).chain(super::when::KEYS) {
        assert!(reference.contains(&format!("| `{key}` |")), "docs/policy.md has no row for `{key}`");
        assert!(example.contains(key), "countersign.example.toml does not name {key}");
    }
}

#[path = "../../../tests/manual/page.rs"]
mod page;

#[test]
fn the_manual_has_every_key_and_no_other() {
    let page = page::Page::open("countersign.toml.5");
    let keys = |section| page.keys(section, "Ic").into_iter().collect::<Vec<_>>();
    let sorted = |keys: &[&str]| {
        let mut keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys("OUTSIDE OF RULES"), sorted(super::KEYS));
    assert_eq!(keys("RULES"), sorted(&[&["name", "when"], super::rule::KEYS].concat()));
    assert_eq!(keys("CONDITIONS"), sorted(super::when::KEYS));
}

#[test]
fn the_policies_of_the_manual_are_taken() {
    let lines = page::Page::open("countersign.toml.5").examples().join("\n");
    let policies: Vec<&str> = lines.split("server = ").skip(1).collect();
    assert!(policies.len() >= 2);
    for policy in policies {
        // What follows the last one are commands.
        let policy = policy.split("\ncountersign ").next().unwrap();
        let policy = format!("server = {policy}");
        assert!(read(&policy).is_ok(), "{policy}: {:?}", read(&policy));
    }
}
