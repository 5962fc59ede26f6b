//! Package managers: whether they ask before packages change, and what the policy makes of that.

use std::path::Path;

use countersign_pam_stack::examine::{Finding, Severity};
use countersign_policy::{Config, Rule, Then};
use countersign_protocol::login::ASK_SERVICE;

use super::program;

/// What turns apt's hook on, by a link to it.
const FRAGMENT: &str = "/usr/share/countersign/apt/99countersign";
/// dnf's plugin, by a link to it.
const PLUGIN: &str = "/usr/share/countersign/dnf/countersign.py";
/// Below it are the folders of Python's releases.
const LIBRARIES: &str = "/usr/lib";
/// Most of them that are looked at.
const MAX_LIBRARIES: usize = 2000;

/// What is turned on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hooks {
    apt: bool,
    dnf: bool,
    /// apt upgrades by itself.
    automatic: bool,
}

impl Hooks {
    /// Those of this host.
    pub(super) fn of_host() -> Self {
        // A host without apt has none of its settings.
        let settings = program::output("apt-config", &["dump"]).unwrap_or_default();
        Self { dnf: has_plugin(Path::new(LIBRARIES)), ..Self::of_apt(&settings) }
    }

    /// By what `apt-config dump` says.
    fn of_apt(settings: &str) -> Self {
        let mut hooks = Self::default();
        let settings = settings.lines().filter_map(|line| line.strip_suffix("\";")?.split_once(" \""));
        for (name, value) in settings {
            // One hook of several, whatever its own name is.
            hooks.apt |= name.starts_with("DPkg::Pre-Install-Pkgs::")
                && value.contains("countersign package-hook apt");
            if name == "APT::Periodic::Unattended-Upgrade" {
                hooks.automatic = !matches!(value, "" | "0");
            }
        }
        hooks
    }

    pub(super) fn is_any(&self) -> bool {
        self.apt || self.dnf
    }
}

/// Whether a release of Python finds the plugin where dnf looks for it. A link that leads nowhere is none.
fn has_plugin(libraries: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(libraries) else { return false };
    let pythons = entries
        .take(MAX_LIBRARIES)
        .flatten()
        .filter(|one| one.file_name().as_encoded_bytes().starts_with(b"python3"));
    pythons
        .flat_map(|one| ["site-packages", "dist-packages"].map(|name| one.path().join(name)))
        .any(|folder| folder.join("dnf-plugins/countersign.py").is_file())
}

pub(super) fn look(
    hooks: &Hooks,
    config: Option<&Config>,
    found: &mut Vec<Finding>,
    notes: &mut Vec<String>,
) {
    for (manager, is_on, offered, folder) in [
        ("apt", hooks.apt, FRAGMENT, "/etc/apt/apt.conf.d/"),
        ("dnf", hooks.dnf, PLUGIN, "dnf's folder of plugins"),
    ] {
        if is_on {
            let rules = config.map(|config| format!("; {}", named(config, manager))).unwrap_or_default();
            notes.push(format!("{manager} asks before packages change{rules}"));
        } else if Path::new(offered).exists() {
            notes.push(format!(
                "{manager} does not ask before packages change; a link to {offered} in {folder} turns it on"
            ));
        }
    }
    let refuses = config.is_some_and(|config| !config.rules.iter().any(lets_upgrades_pass));
    if hooks.apt && hooks.automatic && refuses {
        let text = "apt upgrades by itself and asks before packages change, but no rule lets upgrades pass: nobody is there \
                    to be asked, so none are installed";
        let next = "a rule for the action apt.upgrade with then = \"skip\": the guide has one, under \"Before packages are \
                    installed\"; or APT::Periodic::Unattended-Upgrade \"0\"";
        found.push(Finding::new(Severity::Advice, "automatic-upgrades", text, next));
    }
}

/// Which rules name a package manager's actions.
fn named(config: &Config, manager: &str) -> String {
    let actions = ["install", "remove", "upgrade"].map(|action| format!("{manager}.{action}"));
    let names = |rule: &&Rule| {
        let patterns = rule.when.action.as_ref();
        patterns.is_some_and(|patterns| actions.iter().any(|action| patterns.match_name(action)))
    };
    let rules: Vec<String> =
        config.rules.iter().filter(names).map(|rule| format!("\"{}\"", rule.name)).collect();
    if rules.is_empty() {
        format!("no rule names {}, so what holds for all decides", actions.join(", "))
    } else {
        format!("rules that name it: {}", rules.join(", "))
    }
}

/// Whether a rule lets upgrades by themselves through, of some origin at least.
fn lets_upgrades_pass(rule: &Rule) -> bool {
    let service = rule.when.service.as_ref().is_none_or(|services| services.match_name(ASK_SERVICE));
    let action = rule.when.action.as_ref().is_none_or(|actions| actions.match_name("apt.upgrade"));
    service && action && rule.when.requester.is_none() && matches!(rule.then, Then::Skip | Then::Observe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_settings_say_what_is_on() {
        let hook = "DPkg::Pre-Install-Pkgs::countersign \"X=1 test ! -x /usr/bin/countersign || /usr/bin/countersign package-hook apt\";\n";
        let other = "DPkg::Pre-Install-Pkgs:: \"/usr/sbin/apt-listchanges --apt\";\n";
        let hooks = |text: &str| Hooks::of_apt(text);
        assert_eq!(hooks(other), Hooks::default());
        assert_eq!(hooks(&format!("{other}{hook}")), Hooks { apt: true, ..Hooks::default() });
        for (days, automatic) in [("0", false), ("1", true), ("always", true)] {
            let text = format!("APT::Periodic \"\";\nAPT::Periodic::Unattended-Upgrade \"{days}\";\n");
            assert_eq!(hooks(&text).automatic, automatic, "{days}");
        }
    }

    #[test]
    fn dnfs_plugin_is_found_whichever_python_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let plugins = folder.path().join("python3.13/site-packages/dnf-plugins");
        std::fs::create_dir_all(&plugins).unwrap();
        assert!(!has_plugin(folder.path()));
        let link = plugins.join("countersign.py");
        std::os::unix::fs::symlink("/no/such/plugin", &link).unwrap();
        assert!(!has_plugin(folder.path()));
        std::fs::remove_file(&link).unwrap();
        std::fs::write(&link, "").unwrap();
        assert!(has_plugin(folder.path()));
    }

    #[test]
    fn rules_are_told_by_their_actions() {
        let config = |rules: &str| {
            countersign_policy::read(&format!("server = \"https://push.example.com\"\n{rules}")).unwrap()
        };
        let rule = |when: &str, then: &str| {
            format!("[[rule]]\nname = \"{then}\"\nwhen = {{ {when} }}\nthen = \"{then}\"\n")
        };
        let asks = config(&rule("action = \"apt.*\"", "approve"));
        assert_eq!(named(&asks, "apt"), "rules that name it: \"approve\"");
        assert!(named(&asks, "dnf").starts_with("no rule names dnf.install"));
        let refused = |config: &Config| {
            let mut found = Vec::new();
            let hooks = Hooks { apt: true, automatic: true, ..Hooks::default() };
            look(&hooks, Some(config), &mut found, &mut Vec::new());
            found.len()
        };
        assert_eq!(refused(&asks), 1);
        assert_eq!(refused(&config(&rule("action = \"apt.install\"", "skip"))), 1);
        assert_eq!(refused(&config(&rule("action = \"apt.*\", requester = \"*\"", "skip"))), 1);
        assert_eq!(refused(&config(&rule("service = \"sudo\", user = \"backup\"", "skip"))), 1);
        assert_eq!(refused(&config(&rule("action = \"apt.upgrade\", origin = \"Debian\"", "skip"))), 0);
    }
}
