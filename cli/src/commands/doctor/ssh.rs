//! sshd's settings, as they are in effect.

use std::collections::BTreeMap;
use std::path::Path;

use countersign_pam_stack::Stage;
use countersign_pam_stack::examine::{Finding, Severity};

use super::{Known, not_seen, program, ssh_files};

/// The service that sshd takes where nothing is said.
const SERVICE: &str = "sshd";
/// Where the program is.
const SSHD: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
/// Its settings.
const CONFIG: &str = "/etc/ssh/sshd_config";
/// Where distributions write its options.
const OPTIONS: [&str; 3] = ["/etc/default/ssh", "/etc/sysconfig/sshd", "/etc/conf.d/sshd"];
/// Most `Match` blocks that are tried.
const MAX_BLOCKS: usize = 16;
/// What a person needs beside the wait: the password, and reading.
pub(super) const TYPING: u64 = 20;

/// One connection's settings; sshd prints them in lower case. Of some there are several lines.
type Settings = BTreeMap<String, Vec<String>>;

/// Says whether sshd lets anybody in by key alone.
pub(super) fn look(known: &Known<'_>, found: &mut Vec<Finding>, notes: &mut Vec<String>) -> bool {
    if !known.asks(SERVICE) {
        return true;
    }
    started_otherwise(found);
    let Some(sshd) = program::first(&SSHD) else {
        found.push(not_seen("sshd's settings", "there is no sshd"));
        return true;
    };
    // With -C the settings within `Match` count, too: for a connection that no block is for, those that stand alone.
    let general = ["-T", "-C", "user=nobody,host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22"];
    let settings = match program::output(sshd, &general) {
        Ok(text) => read(&text),
        Err(why) => {
            found.push(not_seen("sshd's settings, as sshd -T does not say them", why));
            return true;
        }
    };
    let mut keys_alone = judge(known, &settings, None, found);
    let written = ssh_files::read(Path::new(CONFIG));
    found.extend(written.not_read.iter().map(|place| {
        not_seen(
            format!("sshd's settings that {place} includes"),
            "sshd -T -C user=NAME,addr=ADDRESS shows them",
        )
    }));
    let blocks = written.blocks;
    if let Some(more) = blocks.len().checked_sub(MAX_BLOCKS).filter(|more| *more > 0) {
        found.push(not_seen(
            format!("sshd's settings of the last {more} of {} Match blocks", blocks.len()),
            "too many to try: sshd -T -C user=NAME,addr=ADDRESS shows them",
        ));
    }
    for (place, line) in blocks.into_iter().take(MAX_BLOCKS) {
        let connection = connection(&line);
        let Some(connection) = connection else {
            found.push(not_seen(
                format!("sshd's settings of {place}"),
                "nobody is named there by user or address: sshd -T -C user=NAME,addr=ADDRESS shows them",
            ));
            continue;
        };
        match program::output(sshd, &["-T", "-C", &connection]) {
            Ok(text) => keys_alone |= judge(known, &read(&text), Some(&place), found),
            Err(why) => found.push(not_seen(format!("sshd's settings of {place}"), why)),
        }
    }
    if keys_alone && known.asking.contains(&("sshd".to_owned(), Stage::Session)) {
        notes.push("ssh by key alone is asked in the session stage; sshd has written \"Accepted publickey\" into the log before.".to_owned());
    }
    keys_alone
}

fn read(text: &str) -> Settings {
    let mut settings = Settings::new();
    for line in text.lines() {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        settings.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
    }
    settings
}

/// What is wrong, and whether a key alone lets in. `block`: in which `Match`.
fn judge(known: &Known<'_>, settings: &Settings, block: Option<&str>, found: &mut Vec<Finding>) -> bool {
    let value = |name: &str| settings.get(name).and_then(|values| values.first()).map_or("", String::as_str);
    let is = |name: &str| value(name) == "yes";
    let mut push = |severity, kind, text: &str, next: &str| {
        let text = block.map_or_else(|| text.to_owned(), |block| format!("in {block}: {text}"));
        let finding = Finding::new(severity, kind, text, next).of("sshd").in_file(block.unwrap_or(CONFIG));
        // What holds everywhere was said before.
        let is_said = found.iter().any(|other| other.kind == kind);
        if !is_said {
            found.push(finding);
        }
    };
    let service = value("pamservicename");
    if !service.is_empty() && !known.asks_anywhere(service) {
        let text = format!("sshd uses the PAM service {service} (PAMServiceName), and that one asks nobody");
        push(
            Severity::WouldOpen,
            "other-service",
            &text,
            "take PAMServiceName out, or put the lines of /etc/pam.d/sshd into that service's file",
        );
        return true;
    }
    let service = if service.is_empty() { SERVICE } else { service };
    let has = |stage| known.asks_in(service, stage);
    if settings.contains_key("usepam") && !is("usepam") {
        push(Severity::WouldOpen, "use-pam", "sshd does not use PAM: nobody is asked", "UsePAM yes");
        return true;
    }
    let keyboard = is("kbdinteractiveauthentication") || is("challengeresponseauthentication");
    let password = is("passwordauthentication");
    let methods: Vec<&str> = value("authenticationmethods").split_ascii_whitespace().collect();
    let is_any = methods.is_empty() || methods == ["any"];
    let asks =
        |list: &&str| list.split(',').any(|one| one == "password" || one.starts_with("keyboard-interactive"));
    let by_key = ["pubkeyauthentication", "gssapiauthentication", "hostbasedauthentication"]
        .iter()
        .any(|name| is(name));
    let keys_alone = if is_any { by_key } else { methods.iter().any(|list| !asks(list)) };
    if has(Stage::Auth) && !keyboard && password {
        let refuses = known
            .config
            .as_ref()
            .is_some_and(|config| config.default.without_prompt == countersign_policy::WithoutPrompt::Refuse);
        let severity = if refuses { Severity::WouldLockOut } else { Severity::Advice };
        let text = "sshd cannot show a prompt with its method \"password\": a tap has to do, or the login is refused, as without_prompt says";
        push(severity, "no-prompt", text, "KbdInteractiveAuthentication yes");
    }
    if !is_any && methods.iter().any(|list| list.contains("password,keyboard-interactive")) {
        let text = "password and keyboard-interactive both go through PAM: people type the password twice and are asked twice";
        push(
            Severity::Advice,
            "asked-twice",
            text,
            "AuthenticationMethods publickey,keyboard-interactive keyboard-interactive",
        );
    }
    if !is_any && methods.contains(&"none") {
        push(
            Severity::WouldOpen,
            "none",
            "AuthenticationMethods none lets in whoever comes",
            "take the line out",
        );
    }
    let wait = known.config.as_ref().map(|config| {
        let rules = config.rules.iter().chain([&config.default]);
        rules.map(|rule| rule.wait_for(service).as_secs()).max().unwrap_or_default()
    });
    let grace: u64 = value("logingracetime").parse().unwrap_or_default();
    if let Some(wait) = wait.filter(|wait| has(Stage::Auth) && grace != 0 && grace < wait + TYPING) {
        let text = format!(
            "sshd ends a login after {grace} s, but the policy waits {wait} s for the phone, and the password takes its time, too"
        );
        let next = format!("LoginGraceTime {}, or a shorter wait in the policy", wait + 2 * TYPING);
        push(Severity::WouldLockOut, "login-grace", &text, &next);
    }
    if value("maxauthtries").parse::<u32>().is_ok_and(|tries| tries < 3) && has(Stage::Auth) {
        let text = "a password or code that is mistyped once or twice ends the connection, as do the keys of a full ssh-agent";
        push(Severity::Advice, "max-auth-tries", text, "MaxAuthTries 6");
    }
    if value("permitrootlogin") == "yes" && (password || keyboard) {
        let text = "root may log in by ssh with a password: nobody carries root's phone, and who it was is not known";
        push(Severity::Advice, "root-login", text, "PermitRootLogin prohibit-password");
    }
    if is("usedns") {
        let text = "sshd writes the name that the other side's DNS claims into its log; phones are shown the address all the same";
        push(Severity::Advice, "use-dns", text, "UseDNS no");
    }
    keys_alone
}

/// A server that runs with other settings than those of its usual file.
fn started_otherwise(found: &mut Vec<Finding>) {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let servers = processes.filter(|entry| {
        std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|name| name.trim_end() == "sshd")
    });
    let running = servers
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        // The one that listens: of a connection's process the words are somebody's name.
        .filter(|words| words.contains("[listener]"));
    let written = OPTIONS
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| {
            Some(line.trim().split_once('=').filter(|(name, _)| !name.starts_with('#'))?.1.to_owned())
        });
    for words in running.chain(written).filter(|words| has_own_settings(words)) {
        found.push(not_seen(
            format!("sshd's settings where it is started with options of its own: {}", words.trim()),
            format!("only {CONFIG} is looked at; sshd -T with the same options shows them"),
        ));
    }
}

/// Whether sshd's options name another file, or settings.
fn has_own_settings(words: &str) -> bool {
    let mut words = words.split_ascii_whitespace().map(|word| word.trim_matches(['"', '\'']));
    words.any(|word| match word.strip_prefix('-') {
        // The options before one of them, in one word, take no value.
        Some(flags) => {
            flags.trim_start_matches(['4', '6', 'D', 'd', 'e', 'i', 'q', 't']).starts_with(['f', 'o'])
        }
        None => false,
    })
}

/// A connection that meets a `Match` line.
fn connection(line: &str) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    if !words.next()?.eq_ignore_ascii_case("match") {
        return None;
    }
    let words: Vec<&str> = words.collect();
    let (mut user, mut address) = ("nobody", "127.0.0.1");
    for pair in words.chunks(2) {
        let [name, values] = pair else { return None };
        let plain = |value: &&str| {
            !value.is_empty()
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:/@".contains(&byte))
        };
        let first = values.split(',').find(plain)?;
        match name.to_ascii_lowercase().as_str() {
            "user" => user = first,
            "address" => address = first.split('/').next()?,
            // A group's members, a name or a port: not from here.
            _ => return None,
        }
    }
    Some(format!("user={user},host=localhost,addr={address},laddr=127.0.0.1,lport=22"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "usepam yes\nkbdinteractiveauthentication yes\npasswordauthentication no\npubkeyauthentication yes\n\
                        authenticationmethods any\nlogingracetime 120\nmaxauthtries 6\npermitrootlogin prohibit-password\nusedns no\n";

    fn judged(changes: &[(&str, &str)]) -> (bool, Vec<&'static str>) {
        let args =
            crate::args::Doctor { services: Vec::new(), drill: false, config: "/nowhere".into(), pam: None };
        let config =
            "server = \"https://push.example.com\"\n[default]\nwait = \"60s\"\nwithout_prompt = \"refuse\"\n";
        let known = Known {
            args: &args,
            folders: countersign_pam_stack::Folders::default(),
            asking: [Stage::Auth, Stage::Session].map(|stage| ("sshd".to_owned(), stage)).into(),
            config: Some(countersign_policy::read(config).unwrap()),
            status: None,
            devices: None,
        };
        let mut settings = read(GOOD);
        for (name, value) in changes {
            settings.insert((*name).to_owned(), vec![(*value).to_owned()]);
        }
        let mut found = Vec::new();
        let keys_alone = judge(&known, &settings, None, &mut found);
        (keys_alone, found.iter().map(|one| one.kind).collect())
    }

    #[test]
    fn what_each_setting_means() {
        assert_eq!(judged(&[]), (true, vec![]));
        for (name, value, kind) in [
            ("usepam", "no", "use-pam"),
            ("logingracetime", "60", "login-grace"),
            ("maxauthtries", "1", "max-auth-tries"),
            ("permitrootlogin", "yes", "root-login"),
            ("usedns", "yes", "use-dns"),
            ("authenticationmethods", "password,keyboard-interactive", "asked-twice"),
            ("authenticationmethods", "none", "none"),
        ] {
            assert_eq!(judged(&[(name, value)]).1, [kind], "{name} {value}");
        }
        assert_eq!(judged(&[("logingracetime", "0")]).1, Vec::<&str>::new());
        let prompt = [("passwordauthentication", "yes"), ("kbdinteractiveauthentication", "no")];
        assert_eq!(judged(&prompt).1, ["no-prompt"]);
        assert_eq!(judged(&prompt[1..]).1, Vec::<&str>::new(), "keys alone: no prompt is needed");
    }

    #[test]
    fn when_a_key_alone_lets_in() {
        for (methods, alone) in [
            ("publickey,keyboard-interactive", false),
            ("publickey,password keyboard-interactive:pam", false),
            ("publickey publickey,keyboard-interactive", true),
            ("gssapi-with-mic", true),
        ] {
            assert_eq!(judged(&[("authenticationmethods", methods)]).0, alone, "{methods}");
        }
        assert!(!judged(&[("pubkeyauthentication", "no")]).0);
        assert!(judged(&[("pubkeyauthentication", "no"), ("hostbasedauthentication", "yes")]).0);
    }

    #[test]
    fn another_service_than_the_one_that_asks_is_a_door() {
        assert_eq!(judged(&[("pamservicename", "sshd-other")]).1, ["other-service"]);
        assert_eq!(judged(&[("pamservicename", "sshd")]).1, Vec::<&str>::new());
    }

    #[test]
    fn options_that_bring_other_settings() {
        for other in
            ["-D -f /etc/ssh/other", "-D -oUsePAM=no", "sshd: /usr/sbin/sshd -Def x [listener]", "\"-o X=y\""]
        {
            assert!(has_own_settings(other), "{other}");
        }
        for usual in ["", "-D", "-u0", "-p 22", "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"] {
            assert!(!has_own_settings(usual), "{usual}");
        }
    }

    #[test]
    fn a_match_is_met_where_it_names_users_and_addresses() {
        let of = |user: &str, address: &str| {
            Some(format!("user={user},host=localhost,addr={address},laddr=127.0.0.1,lport=22"))
        };
        assert_eq!(connection(" match User *,backup Address 10.0.0.0/8"), of("backup", "10.0.0.0"));
        assert_eq!(connection("Match Address 192.0.2.7"), of("nobody", "192.0.2.7"));
        for none in ["", "Matching User a", "Match all", "Match Group x", "Match User *", "UsePAM yes"] {
            assert_eq!(connection(none), None, "{none}");
        }
    }
}
