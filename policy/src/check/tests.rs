use super::*;
use crate::read;

const NOW: &str = "2026-11-23T12:00:00Z";

fn advice(rules: &str, services: Option<&[&str]>) -> Vec<(String, &'static str)> {
    let config = read(&format!("server = \"https://push.example.com\"\n{rules}")).unwrap();
    let asking = |one: &&str| {
        let (service, stages) = one.split_once(' ').unwrap_or((one, "auth session"));
        let stage = |name| [Stage::Auth, Stage::Session].into_iter().find(|stage| stage_name(*stage) == name);
        Asking { service: service.to_owned(), stages: stages.split(' ').filter_map(stage).collect() }
    };
    let services = services.map(|list| list.iter().map(asking).collect::<Vec<_>>());
    check(&config, services.as_deref(), NOW.parse().unwrap())
        .into_iter()
        .map(|one| (one.rule, one.kind.word()))
        .collect()
}

fn rule(name: &str, when: &str, then: &str) -> String {
    format!("[[rule]]\nname = \"{name}\"\nwhen = {{ {when} }}\nthen = \"{then}\"\n")
}

#[test]
fn a_policy_as_it_should_be_needs_no_advice() {
    let rules = [
        rule("backup", "user = \"backup\", service = \"sshd\"", "skip"),
        rule("office", "service = \"sshd\", network = \"10.0.0.0/8\"", "skip"),
        rule("alice's cron", "service = \"cron\", user = \"alice\"", "skip"),
        rule("all ssh", "service = \"sshd\"", "approve"),
    ];
    assert_eq!(advice(&rules.concat(), Some(&["sshd", "cron"])), []);
}

#[test]
fn a_rule_behind_one_that_meets_more_never_matches() {
    for (first, second) in [
        ("service = \"sshd\"", "service = \"sshd\", user = \"alice\""),
        ("user = \"a*\"", "user = [\"alice\", \"anna\"]"),
        ("", "service = \"sudo\""),
        ("hours = \"07:00-19:00\"", "hours = \"07:00-19:00\", remote = true"),
    ] {
        let rules = rule("first", first, "approve") + &rule("second", second, "deny");
        assert_eq!(advice(&rules, None), [("second".to_owned(), "never")], "{second}");
    }
    for (first, second) in [
        ("service = \"sshd\", user = \"alice\"", "service = \"sshd\""),
        ("user = [\"*\", \"!alice\"]", "user = [\"alice\", \"bob\"]"),
        ("user = \"a*\"", "user = \"al*\""),
        ("network = \"10.0.0.0/8\"", "network = \"10.1.0.0/16\""),
    ] {
        let rules = rule("first", first, "approve") + &rule("second", second, "deny");
        assert_eq!(advice(&rules, None), [], "{second}");
    }
}

#[test]
fn conditions_that_exclude_each_other_are_found() {
    for when in [
        "ssh_key_type = \"sk-*\", service = \"sudo\"",
        "network = \"10.0.0.0/8\", remote = false",
        "action = \"apt.*\", service = \"sudo\"",
        "origin = \"Debian\", stage = \"session\"",
        "action = \"*\", remote = true",
    ] {
        assert_eq!(advice(&rule("x", when, "approve"), None), [("x".to_owned(), "never")], "{when}");
    }
}

#[test]
fn rules_for_actions_need_no_pam_service_and_say_what_they_are_for() {
    let rules = [
        rule("updates", "action = \"apt.*\", origin = \"Debian*\"", "skip"),
        rule("more", "action = [\"apt.install\", \"apt.remove\"]", "approve"),
        rule("any", "service = \"ask\"", "approve"),
    ];
    assert_eq!(advice(&rules.concat(), Some(&["sshd"])), []);
    let covered =
        rule("all", "action = \"apt.*\"", "approve") + &rule("x", "action = \"apt.install\"", "deny");
    assert_eq!(advice(&covered, None), [("x".to_owned(), "never")]);
    let narrower =
        rule("x", "origin = \"Debian\"", "skip") + &rule("all", "action = \"apt.install\"", "deny");
    assert_eq!(advice(&narrower, None), []);
}

#[test]
fn what_lets_everybody_pass_is_said() {
    for rules in [
        rule("x", "", "skip"),
        rule("x", "service = \"sshd\"", "skip"),
        rule("x", "service = \"sudo\", hours = \"07:00-19:00\"", "skip"),
        rule("x", "command = \"*ls*\"", "skip"),
        rule("x", "user = \"*\", stage = \"session\"", "skip"),
    ] {
        assert_eq!(advice(&rules, None), [("x".to_owned(), "opens")], "{rules}");
    }
    assert_eq!(advice("[default]\nthen = \"skip\"\n", None), [("default".to_owned(), "opens")]);
}

#[test]
fn what_opens_without_a_server_is_said() {
    let rules = rule("x", "user = \"alice\", remote = false", "approve")
        + "offline = [{ allow_until = 2027-03-01 }]\n";
    assert_eq!(advice(&rules, None), [("x".to_owned(), "opens")]);
}

#[test]
fn a_lease_that_nobody_may_grant_is_found() {
    let offline = "offline = [\"lease\"]\n";
    assert_eq!(advice(&format!("[default]\n{offline}"), None), [("default".to_owned(), "idle")]);
    let rules = rule("x", "service = \"sshd\"", "approve");
    assert_eq!(advice(&format!("{rules}{offline}"), None), [("x".to_owned(), "idle")]);
    assert_eq!(advice(&format!("{rules}{offline}[default]\nlease = \"1h\"\n"), None), []);
    let several = "lease = \"1h\"\napprovals = { from = [\"bob\"], needed = 1 }\n";
    assert_eq!(advice(&format!("{rules}{several}"), None), [("x".to_owned(), "idle")]);
    let ask = rule("x", "service = \"ask\"", "approve");
    assert_eq!(advice(&format!("{ask}lease = \"1h\"\n"), None), [("x".to_owned(), "idle")]);
    assert_eq!(advice(&format!("{ask}{offline}"), None), [("x".to_owned(), "idle")]);
    let general = "[default]\nlease = \"1h\"\noffline = [\"lease\"]\n";
    assert_eq!(advice(&format!("{ask}{general}"), None), []);
    // What asks nobody needs none.
    assert_eq!(advice(&format!("{}{offline}", rule("x", "user = \"a\"", "skip")), None), []);
}

#[test]
fn a_rule_for_services_that_do_not_ask_is_found() {
    let rules = rule("x", "service = [\"sshdd\", \"su*\"]", "deny");
    assert_eq!(advice(&rules, Some(&["sshd", "login"])), [("x".to_owned(), "unreached")]);
    assert_eq!(advice(&rules, Some(&["sudo"])), []);
}

#[test]
fn what_only_observes_is_said_wherever_it_stands() {
    for when in ["", "service = \"polkit-1\"", "service = \"su\", user = \"alice\""] {
        assert_eq!(advice(&rule("x", when, "observe"), None), [("x".to_owned(), "observes")], "{when}");
    }
    assert_eq!(advice("[default]\nthen = \"observe\"\n", None), [("default".to_owned(), "observes")]);
}

#[test]
fn a_stage_in_which_its_services_do_not_ask_is_found() {
    let session = rule("x", "service = \"sshd\", stage = \"session\"", "approve");
    assert_eq!(advice(&session, Some(&["sshd auth", "sudo"])), [("x".to_owned(), "unreached")]);
    assert_eq!(advice(&session, Some(&["sshd session"])), []);
    let anywhere = rule("x", "stage = \"session\"", "approve");
    assert_eq!(advice(&anywhere, Some(&["sshd auth"])), [("x".to_owned(), "unreached")]);
    assert_eq!(advice(&anywhere, Some(&["sshd auth", "login"])), []);
    assert_eq!(advice(&rule("x", "service = \"sshd\"", "approve"), Some(&["sshd auth"])), []);
}

#[test]
fn what_a_stage_without_a_prompt_cannot_take_is_found() {
    let session = rule("x", "service = \"sshd\", stage = \"session\"", "approve");
    let idle = [("x".to_owned(), "idle")];
    assert_eq!(advice(&format!("{session}without_prompt = \"refuse\"\n"), None), idle);
    assert_eq!(advice(&format!("{session}codes = [\"totp\"]\n"), None), idle);
    assert_eq!(advice(&format!("{session}offline = [\"totp\"]\n"), None), idle);
    assert_eq!(advice(&format!("{session}lease = \"8h\"\noffline = [\"lease\"]\n"), None), []);
    assert_eq!(advice(&format!("{session}[default]\ncodes = [\"totp\"]\n"), None), []);
}

#[test]
fn a_code_that_nobody_can_type_is_found() {
    let of = |services: &str, more: &str| advice(&format!("{}{more}", rule("x", services, "approve")), None);
    let refuses = "without_prompt = \"refuse\"\n";
    assert_eq!(of("service = [\"i3lock\", \"sddm\"]", refuses), [("x".to_owned(), "idle")]);
    assert_eq!(of("service = [\"i3lock\", \"lightdm\"]", refuses), []);
    assert_eq!(of("service = \"i3lock\"", &format!("{refuses}confirm = \"tap\"\n")), []);
    assert_eq!(of("service = \"i3lock\"", ""), []);
}

#[test]
fn a_day_that_has_come_is_told_once() {
    let spared = |date: &str| {
        let default = format!("[default]\nunenrolled = {{ skip_until = {date} }}\n");
        advice(&(rule("x", "service = \"sshd\"", "approve") + &default), None)
    };
    assert_eq!(spared("2026-11-23"), [("default".to_owned(), "idle")]);
    assert_eq!(spared("2026-11-24"), []);
    let local = rule("x", "user = \"alice\", remote = false", "approve");
    let allowed = |date: &str| advice(&format!("{local}offline = [{{ allow_until = {date} }}]\n"), None);
    assert_eq!(allowed("2026-11-23"), [("x".to_owned(), "idle")]);
    assert_eq!(allowed("2026-11-24"), [("x".to_owned(), "opens")]);
}
