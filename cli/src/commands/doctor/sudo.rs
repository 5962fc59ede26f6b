//! Who gets root from sudo without any authentication.

use std::collections::BTreeSet;
use std::path::PathBuf;

use countersign_files::{Links, Owner, read_bytes};
use countersign_pam_stack::examine::{Finding, Severity};
use serde_json::Value;

use super::{Known, not_seen, program};

const SUDOERS: &str = "/etc/sudoers";
const MORE: &str = "/etc/sudoers.d";
const PROGRAMS: [&str; 2] = ["/usr/bin/cvtsudoers", "/usr/local/bin/cvtsudoers"];
/// Longest of the files.
const MAX_FILE: usize = 1 << 20;
/// The settings for another PAM service, and what it is where nothing is said.
const SERVICES: [(&str, &str); 3] =
    [("pam_service", "sudo"), ("pam_login_service", "sudo-i"), ("pam_askpass_service", "sudo")];
/// Commands that run whatever they are told to.
const SHELLS: [&str; 14] = [
    "ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "rbash", "runuser", "sh", "su", "sudo", "tcsh",
    "zsh",
];
/// Settings by which sudo asks for somebody else's password, and whose that is.
const PASSWORDS: [(&str, &str); 3] = [
    ("targetpw", "the password of the account that it becomes"),
    ("runaspw", "the password of the account that runas_default names (root, where it names none)"),
    ("rootpw", "root's password"),
];
/// Minutes for which sudo asks no second time, where nothing is said.
const USUAL: f64 = 15.0;

pub(super) fn look(known: &Known<'_>, found: &mut Vec<Finding>, notes: &mut Vec<String>) {
    if !known.asks("sudo") && !known.asks("sudo-i") {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        found.push(not_seen("sudo's rules", "run it as root"));
        return;
    }
    match rules() {
        Ok(rules) => {
            judge(known, &rules, found, notes);
            notes.extend(whose_password(&rules));
        }
        Err(why) => found.push(not_seen("sudo's rules", why)),
    }
    let from_elsewhere =
        std::fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default().lines().any(|line| {
            line.trim_start().starts_with("sudoers:") && (line.contains("sss") || line.contains("ldap"))
        });
    if from_elsewhere {
        found.push(not_seen("sudo's rules from a directory (sss, ldap)", "sudo -l -U USER shows them"));
    }
}

/// What there is to know about whose phone rings, before sudo is turned on. What cannot be read is doctor's to say.
pub(in crate::commands) fn whose_phone() -> Vec<String> {
    rules().map(|rules| whose_password(&rules)).unwrap_or_default()
}

fn rules() -> Result<Value, String> {
    let convert = program::first(&PROGRAMS).ok_or("there is no cvtsudoers")?;
    let text = program::output(convert, &["-e", "-f", "json", SUDOERS])?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Whoever's password sudo asks for, PAM is asked about that account.
fn whose_password(rules: &Value) -> Vec<String> {
    let list =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut notes = Vec::new();
    for one in list(rules, "Defaults") {
        let bound = list(&one, "Binding");
        let whom =
            if bound.is_empty() { String::new() } else { format!(" (for {})", names(&bound).join(", ")) };
        let is_set =
            |name: &str| list(&one, "Options").iter().any(|o| o.get(name) == Some(&Value::Bool(true)));
        for (name, whose) in PASSWORDS.iter().filter(|(name, _)| is_set(name)) {
            notes.push(format!(
                "sudo asks for {whose}{whom} (Defaults {name}), and PAM about that account: rules see it as the user, and its \
                 phone rings; for root the caller's does, and for all accounts with ask = \"caller\" in the rule."
            ));
        }
    }
    notes
}

fn judge(known: &Known<'_>, rules: &Value, found: &mut Vec<Finding>, notes: &mut Vec<String>) {
    let list = |value: &Value, name: &str| -> Vec<Value> {
        value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let option = |one: &Value, name: &str| list(one, "Options").iter().find_map(|o| o.get(name).cloned());
    // Minutes, and for whom they hold: for everybody where nobody is named.
    let mut minutes = vec![(String::new(), USUAL)];
    for one in list(rules, "Defaults") {
        let bound = list(&one, "Binding");
        let whom = if bound.is_empty() { String::new() } else { names(&bound).join(", ") };
        if option(&one, "authenticate") == Some(Value::Bool(false)) {
            let who = if whom.is_empty() { "everybody" } else { &whom };
            let text = format!("sudo asks {who} for nothing: Defaults !authenticate leaves PAM out");
            found.push(at("!authenticate", Severity::WouldOpen, "no-authentication", text));
        }
        if let Some(group) = option(&one, "exempt_group").as_ref().and_then(Value::as_str) {
            let text =
                format!("sudo asks group {group} for nothing: Defaults exempt_group leaves PAM out for it");
            found.push(at("exempt_group", Severity::WouldOpen, "exempt-group", text));
        }
        for (name, usual) in SERVICES {
            if let Some(service) = option(&one, name).as_ref().and_then(Value::as_str)
                && !known.asks_anywhere(service)
            {
                let text = format!(
                    "sudo uses the PAM service {service} in place of {usual}, and that one asks nobody"
                );
                let finding = at(name, Severity::WouldOpen, "other-service", text);
                found.push(Finding { next: format!("countersign enable {service}"), ..finding });
            }
        }
        if let Some(value) = option(&one, "timestamp_timeout")
            && let Some(value) = value.as_str().and_then(|text| text.parse().ok()).or(value.as_f64())
        {
            // The last one counts.
            minutes.retain(|(other, _)| *other != whom);
            minutes.push((whom, value));
        }
        if option(&one, "timestamp_type").as_ref().and_then(Value::as_str) == Some("global") {
            let text = "one sudo that was approved lets all of the user's terminals and logins have it unasked: timestamp_type is global";
            found.push(at("timestamp_type", Severity::Advice, "timestamp-global", text.to_owned()));
        }
    }
    for (whom, minutes) in minutes {
        remembered(&whom, minutes, found, notes);
    }
    without_password(rules, found);
}

fn remembered(whom: &str, minutes: f64, found: &mut Vec<Finding>, notes: &mut Vec<String>) {
    let whom = if whom.is_empty() { String::new() } else { format!(" (for {whom})") };
    if !(0.0..=USUAL).contains(&minutes) {
        let long = if minutes < 0.0 {
            "as long as the machine runs".to_owned()
        } else {
            format!("for {minutes} minutes")
        };
        let text = format!(
            "after one sudo that was approved, others in the same terminal are not asked {long}{whom}"
        );
        found.push(at("timestamp_timeout", Severity::Advice, "timestamp", text));
    } else if minutes > 0.0 {
        notes.push(format!(
            "sudo remembers for {minutes} minutes{whom}: a second sudo in the same terminal is not asked (timestamp_timeout=0 in sudoers ends that)."
        ));
    }
}

/// Whether a command lets whoever may run it run any other.
fn is_everything(command: &str) -> bool {
    let program = command.split_ascii_whitespace().next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    program == "ALL" || SHELLS.contains(&name) || program.ends_with("/*") || program.ends_with('/')
}

fn without_password(rules: &Value, found: &mut Vec<Finding>) {
    let array =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (mut all, mut some) = (BTreeSet::new(), BTreeSet::new());
    for rule in array(rules, "User_Specs") {
        for spec in array(&rule, "Cmnd_Specs") {
            let free = array(&spec, "Options")
                .iter()
                .any(|one| one.get("authenticate") == Some(&Value::Bool(false)));
            if !free {
                continue;
            }
            let is_all = array(&spec, "Commands")
                .iter()
                .filter(|one| one.get("negated") != Some(&Value::Bool(true)))
                .any(|one| one.get("command").and_then(Value::as_str).is_some_and(is_everything));
            let into = if is_all { &mut all } else { &mut some };
            let users = array(&rule, "User_List");
            let is_mixed = users.iter().any(|one| one.get("negated").is_some());
            // "not" is about the names of its own rule.
            if is_mixed {
                into.extend([format!("({})", names(&users).join(", "))])
            } else {
                into.extend(names(&users))
            };
        }
    }
    let listed = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    if !all.is_empty() {
        let text = format!(
            "{} may run everything by sudo without authentication (NOPASSWD): sudo leaves PAM out, and nobody is asked",
            listed(&all)
        );
        found.push(at("NOPASSWD", Severity::WouldOpen, "nopasswd", text));
    }
    if !some.is_empty() {
        let text = format!(
            "{} may run some commands by sudo without authentication (NOPASSWD), and nobody is asked",
            listed(&some)
        );
        found.push(at("NOPASSWD", Severity::Advice, "nopasswd-some", text));
    }
}

/// What a list of users in cvtsudoers' words says.
fn names(list: &[Value]) -> Vec<String> {
    list.iter()
        .filter_map(|one| {
            let (kind, name) = one.as_object()?.iter().find(|(kind, _)| *kind != "negated")?;
            let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
            let named = match kind.as_str() {
                "usergroup" => format!("group {name}"),
                "username" if name == "ALL" => "everybody".to_owned(),
                _ => name,
            };
            let is_negated = one.get("negated") == Some(&Value::Bool(true));
            Some(if is_negated { format!("not {named}") } else { named })
        })
        .collect()
}

/// A finding at the line of sudoers that has this word. cvtsudoers says what holds, but not where.
fn at(word: &str, severity: Severity, kind: &'static str, text: String) -> Finding {
    let mut files = vec![PathBuf::from(SUDOERS)];
    let mut more: Vec<PathBuf> =
        std::fs::read_dir(MORE).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    more.sort();
    files.extend(more);
    let place = files.into_iter().find_map(|file| {
        let bytes = read_bytes(&file, Owner::own(), Links::Followed, MAX_FILE).ok()?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let line =
            text.lines().position(|line| !line.trim_start().starts_with('#') && line.contains(word))?;
        Some(format!("{}:{}", file.display(), line + 1))
    });
    let next = match kind {
        "timestamp" | "timestamp-global" => "visudo: Defaults timestamp_timeout=5, timestamp_type=tty",
        "exempt-group" => "visudo, and take exempt_group out",
        "no-authentication" => "visudo, and take !authenticate out",
        _ => "visudo, and take NOPASSWD out where a person should be asked",
    };
    let finding = Finding::new(severity, kind, text, next).of("sudo");
    match place {
        Some(place) => finding.in_file(place),
        None => finding.in_file(SUDOERS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_asked_for_a_password() {
        let rules = serde_json::json!({"User_Specs": [
            {"User_List": [{"username": "bob"}, {"usergroup": "ops"}], "Cmnd_Specs": [
                {"Options": [{"authenticate": false}], "Commands": [{"command": "/bin/ls"}]},
                {"Options": [{"authenticate": true}], "Commands": [{"command": "ALL"}]}]},
            {"User_List": [{"useralias": "OPS"}], "Cmnd_Specs": [
                {"Options": [{"setenv": true}, {"authenticate": false}], "Commands": [{"command": "ALL"}]}]}]});
        let mut found = Vec::new();
        without_password(&rules, &mut found);
        let said: Vec<(&str, bool)> =
            found.iter().map(|one| (one.kind, one.text.contains("OPS may"))).collect();
        assert_eq!(said, [("nopasswd", true), ("nopasswd-some", false)]);
        assert!(found[1].text.starts_with("bob, group ops may"), "{:?}", found[1].text);
    }

    #[test]
    fn whose_password_it_is_says_whose_phone_rings() {
        let notes = |defaults: Value| whose_password(&serde_json::json!({ "Defaults": defaults }));
        assert_eq!(
            notes(serde_json::json!([{"Options": [{"env_reset": true}, {"targetpw": false}]}])),
            [""; 0]
        );
        let all = notes(serde_json::json!([
            {"Options": [{"env_reset": true}, {"targetpw": true}]},
            {"Binding": [{"username": "bob"}], "Options": [{"rootpw": true}]}]));
        assert_eq!(all.len(), 2);
        assert!(
            all[0]
                .starts_with("sudo asks for the password of the account that it becomes (Defaults targetpw)")
        );
        assert!(
            all[1].starts_with("sudo asks for root's password (for bob) (Defaults rootpw)"),
            "{}",
            all[1]
        );
    }

    #[test]
    fn a_shell_or_su_without_a_password_is_everything() {
        for all in ["ALL", "/bin/bash", "/usr/bin/su - root", "/usr/bin/*", "/usr/sbin/"] {
            assert!(is_everything(all), "{all}");
        }
        for some in
            ["/usr/bin/apt update", "sudoedit /etc/motd", "/usr/bin/systemctl restart *", "/opt/su-report"]
        {
            assert!(!is_everything(some), "{some}");
        }
        let rules = serde_json::json!({"User_Specs": [
            {"User_List": [{"username": "ALL"}, {"username": "bob", "negated": true}], "Cmnd_Specs": [
                {"Options": [{"authenticate": false}],
                 "Commands": [{"command": "/bin/ls"}, {"command": "/bin/sh", "negated": true}]}]}]});
        let mut found = Vec::new();
        without_password(&rules, &mut found);
        assert_eq!(found.iter().map(|one| one.kind).collect::<Vec<_>>(), ["nopasswd-some"]);
        assert!(found[0].text.starts_with("(everybody, not bob) may"), "{:?}", found[0].text);
    }
}
