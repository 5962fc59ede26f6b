//! Files and command lines as a whole.

use super::*;
use crate::manual_page::Page;
use countersign_protocol::text::is_active;

fn load(toml: &str, over: Overrides) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.toml");
    std::fs::write(&path, toml).unwrap();
    Config::load(Some(&path), over).map_err(|e| e.to_string())
}

fn listen(text: &str) -> Overrides {
    Overrides { listen: Some(text.parse().unwrap()), ..Overrides::default() }
}

#[test]
fn the_example_says_the_defaults() {
    let example = include_str!("../../countersign-server.example.toml");
    let defaults = Config::load(None, Overrides::default()).unwrap();
    assert_eq!(load(example, Overrides::default()).unwrap(), defaults);
    // What is commented out must be valid as well; of the ways to HTTPS one at a time.
    let without = |ours: fn(&str) -> bool| {
        let lines = example.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line));
        load(&lines.filter(|line| !ours(line)).collect::<Vec<_>>().join("\n"), Overrides::default()).unwrap()
    };
    let all = without(|line| line.starts_with("domain") || line.starts_with("acme_"));
    assert!(all.tls.is_some() && all.origin.is_some() && all.app_origins.len() == 1);
    let all = without(|line| ["[tls]", "certificate", "key"].iter().any(|word| line.starts_with(word)));
    assert!(all.acme.is_some_and(|acme| acme.contact.is_some() && acme.ca.is_some()));
    for (name, _) in Limits::default().all() {
        assert!(example.contains(&format!("\n{name} = ")), "{name} is not in the example");
    }
}

#[test]
fn the_command_line_wins() {
    let over = Overrides { database: Some("/b".into()), ..listen("127.0.0.1:2") };
    let config = load("listen = '127.0.0.1:1'\ndatabase = '/a'\norigin = 'https://a.example'", over).unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.database, Path::new("/b"));
    assert_eq!(config.origin.as_deref(), Some("https://a.example"));
}

#[test]
fn faults_name_the_place() {
    let fault = load("listen = '127.0.0.1:1'\nlissen = 1\n", Overrides::default()).unwrap_err();
    assert!(fault.contains("server.toml") && fault.contains("line 2") && fault.contains("lissen"), "{fault}");
    let fault = load("[limits]\nhost_rate = 0\n", Overrides::default()).unwrap_err();
    assert!(fault.contains("limits.host_rate"), "{fault}");
    assert!(load("[limits]\nhost_rate = -1\n", Overrides::default()).is_err());
    let missing = Config::load(Some(Path::new("/nonexistent/x.toml")), Overrides::default()).unwrap_err();
    assert!(missing.to_string().starts_with("/nonexistent/x.toml: "), "{missing}");
    let fault = load("origin = 'x\u{9b}2J\u{202e}'\n\tx = \u{1b}", Overrides::default()).unwrap_err();
    assert!(!fault.contains(|c| c != '\n' && is_active(c)), "{fault:?}");
    let fault = load("", Overrides { tls_cert: Some("/c".into()), ..Overrides::default() }).unwrap_err();
    assert!(fault.contains("--tls-key"), "{fault}");
}

#[test]
fn a_misplaced_key_is_told_where_it_belongs() {
    let told = |text: &str| load(text, Overrides::default()).unwrap_err();
    let fault = told("[limits]\nhost_rate = 1\ndomain = ['a.example']\n");
    assert!(fault.contains("line 3") && fault.ends_with("\nIt belongs above the first [table]."), "{fault}");
    assert!(told("host_rate = 1\n").ends_with("It belongs under [limits]."));
    assert!(told("[limits]\ncontact = 'mailto:a@b.example'\n").ends_with("It belongs under [push]."));
    assert!(told("[push]\ncertificate = '/c'\n").ends_with("It belongs under [tls]."));
    for nowhere in ["[limits]\ndomains = 1\n", "[limits]\n'a`b' = 1\n", "[limits]\n'' = 1\n", "limits = 1\n"]
    {
        assert!(!told(nowhere).contains("It belongs"), "{nowhere}");
    }
}

#[test]
fn whom_push_services_ask_is_a_url() {
    let push = |contact: &str| load(&format!("[push]\ncontact = '{contact}'"), Overrides::default());
    for good in ["mailto:admin@example.com", "https://example.com/contact"] {
        assert_eq!(push(good).unwrap().push.contact.as_deref(), Some(good));
    }
    for bad in ["", "admin@example.com", "mailto:", "http://example.com", "mailto:a b@example.com"] {
        assert!(push(bad).unwrap_err().contains("push.contact"), "{bad}");
    }
}

#[test]
fn plain_http_stays_on_loopback() {
    let origin = "origin = 'https://push.example'\n";
    assert!(load(origin, listen("192.0.2.1:80")).unwrap_err().contains("--behind-proxy"));
    assert!(load(origin, listen("[::]:80")).is_err());
    assert!(load(origin, listen("[::1]:80")).is_ok());
    assert!(load(origin, Overrides { behind_proxy: true, ..listen("192.0.2.1:80") }).is_ok());
    assert!(load("behind_proxy = true", listen("192.0.2.1:80")).unwrap_err().contains("--origin"));
}

#[test]
fn a_domain_brings_https() {
    let domain = |more: &str| {
        load(&format!("domain = ['push.example.com', 'b.example']\n{more}"), Overrides::default())
    };
    let config = domain("acme_contact = 'admin@example.com'").unwrap();
    assert_eq!(config.listen, "[::]:443".parse().unwrap());
    assert_eq!(config.origin_for("[::]:8443".parse().unwrap()), "https://push.example.com");
    let acme = config.acme.unwrap();
    assert_eq!(acme.domains, ["push.example.com", "b.example"]);
    assert_eq!(acme.contact.as_deref(), Some("mailto:admin@example.com"));
    assert_eq!(acme.directory, LETS_ENCRYPT);
    let config = domain("origin = 'https://other.example'\nlisten = '0.0.0.0:8443'").unwrap();
    assert_eq!(config.origin_for(config.listen), "https://other.example");
    let over = Overrides { domains: vec!["c.example".to_owned()], ..Overrides::default() };
    assert_eq!(load("domain = ['b.example']", over).unwrap().acme.unwrap().domains, ["c.example"]);
    for (more, why) in [
        ("behind_proxy = true", "choose one"),
        ("[tls]\ncertificate = '/c'\nkey = '/k'", "choose one"),
        ("acme_directory = 'http://acme.example'", "acme_directory"),
        ("acme_contact = 'admin'", "acme_contact"),
    ] {
        let fault = domain(more).unwrap_err();
        assert!(fault.contains(why), "{fault}");
    }
    assert_eq!(load("", Overrides::default()).unwrap().acme, None);
}

#[test]
fn the_manual_has_every_setting_and_no_other() {
    let page = Page::open("countersign-server.toml.5");
    // What serde says that it would have taken.
    let known = |table: &str| {
        let fault = load(&format!("{table}\nno_setting = 1\n"), Overrides::default()).unwrap_err();
        let (_, names) = fault.split_once("expected one of ").unwrap();
        let names = names.lines().next().unwrap().split(", ");
        names.map(|name| name.trim_matches('`').to_owned()).collect::<std::collections::BTreeSet<_>>()
    };
    let mut settings = known("");
    for table in ["tls", "limits", "push"] {
        assert!(settings.remove(table));
    }
    assert_eq!(page.keys("SETTINGS", "Ic"), settings);
    assert_eq!(page.keys("Under [limits]", "Ic"), known("[limits]"));
    assert_eq!(page.keys("Under [push]", "Ic"), known("[push]"));
    assert_eq!(page.keys("Under [tls]", "Ic"), ["certificate", "key"].map(str::to_owned).into());
}

#[test]
fn the_settings_of_the_manual_are_taken() {
    let lines = Page::open("countersign-server.toml.5").examples();
    let (first, second) = lines.split_at(lines.iter().position(|line| line.starts_with("listen")).unwrap());
    for settings in [first, second] {
        let settings = settings.join("\n");
        assert!(load(&settings, Overrides::default()).is_ok(), "{settings}");
    }
}
