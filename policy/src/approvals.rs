//! Whose approval a rule wants where it is not the user's own: `approvals = { from = ["@oncall"], needed = 2 }`.

use std::fmt;

use countersign_protocol::text::is_principal;
use toml::de::DeValue;

use crate::Fault;
use crate::table::{Table, Value, kind};

/// Most people that a rule may want.
pub const MOST_NEEDED: u8 = 8;
/// Most names in `from`.
pub(super) const MOST_NAMED: usize = 8;
/// Longest name in it, without what says whose name it is.
pub(super) const MAX_NAMED: usize = 32;
/// In front of a group's name.
const GROUP: &str = "@";
/// In front of a principal. No user and no group can be called so: a colon ends a name in passwd and group.
const PRINCIPAL: &str = "principal:";
/// Most bytes of all of them together: they travel in the signed request, beside a command line.
pub const MAX_NAMES: usize = 160;

/// What is wrong with "unenrolled" beside them.
pub(super) const SPARED: &str =
    "with \"approvals\" it does not matter whether the user has a device: take this away";

/// Some people, and how many of them have to approve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approvals {
    /// Who may.
    pub from: Vec<Named>,
    /// How many different ones have to.
    pub needed: u8,
}

/// One entry of `from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A user of this host.
    User(String),
    /// The members of a group of this host, written `@group`.
    Group(String),
    /// Those whose device has a certificate with this principal beside their name, written `principal:name`.
    Principal(String),
}

impl fmt::Display for Named {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => f.write_str(name),
            Self::Group(name) => write!(f, "{GROUP}{name}"),
            Self::Principal(name) => write!(f, "{PRINCIPAL}{name}"),
        }
    }
}

impl Approvals {
    /// The entries of `from` as they are written.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.from.iter().map(Named::to_string).collect()
    }

    /// The principals among them, as they stand in certificates.
    pub fn principals(&self) -> impl Iterator<Item = &str> {
        self.from.iter().filter_map(|named| match named {
            Named::Principal(name) => Some(name.as_str()),
            Named::User(_) | Named::Group(_) => None,
        })
    }
}

/// Reads the key: the table, or `"self"` for the user's own devices.
pub(super) fn read(value: &Value<'_, '_>, faults: &mut Vec<Fault>) -> Option<Option<Approvals>> {
    const HOW: &str = "\"approvals\" is { from = [\"@oncall\", \"carol\"], needed = 2 }, or \"self\" for the user's own devices";
    let mut table = match value.value {
        DeValue::Table(table) => Table::new(table, "\"approvals\""),
        DeValue::String(word) if word.as_ref() == "self" => return Some(None),
        other => {
            faults.push(value.fault(format!("{HOW}, not {}", kind(other))));
            return None;
        }
    };
    let before = faults.len();
    let (from, needed) = (table.get("from"), table.get("needed"));
    if from.is_none() || needed.is_none() {
        faults.push(value.fault(HOW));
    }
    let from = from.map(|value| names(&value, faults)).unwrap_or_default();
    let needed = needed.and_then(|value| number(&value).map_err(|fault| faults.push(fault)).ok());
    table.finish(&[], faults);
    let approvals = Approvals { from, needed: needed? };
    if faults.len() > before {
        return None;
    }
    // How many a group has is for the name service to say.
    let users = approvals.from.iter().all(|named| matches!(named, Named::User(_)));
    if users && approvals.from.len() < usize::from(approvals.needed) {
        let text = format!(
            "nobody could ever pass: {} are needed, and \"from\" names {}",
            approvals.needed,
            approvals.from.len()
        );
        faults.push(value.fault(text));
        return None;
    }
    Some(Some(approvals))
}

fn names(value: &Value<'_, '_>, faults: &mut Vec<Fault>) -> Vec<Named> {
    let mut list: Vec<Named> = Vec::new();
    for item in value.items() {
        match name(&item) {
            Ok(named) if list.contains(&named) => faults.push(item.fault("this stands in the list twice")),
            Ok(named) => list.push(named),
            Err(fault) => faults.push(fault),
        }
    }
    if list.is_empty() || list.len() > MOST_NAMED {
        faults.push(value.fault(format!("\"from\" names 1 to {MOST_NAMED} users, groups or principals")));
    }
    if list.iter().map(|named| named.to_string().len()).sum::<usize>() > MAX_NAMES {
        let text = format!("the names in \"from\" are over {MAX_NAMES} bytes together: make a group of them");
        faults.push(value.fault(text));
    }
    list
}

fn name(value: &Value<'_, '_>) -> Result<Named, Fault> {
    let text = value.text()?;
    let (meant, name): (fn(String) -> Named, &str) =
        match (text.strip_prefix(GROUP), text.strip_prefix(PRINCIPAL)) {
            (Some(group), _) => (Named::Group, group),
            (_, Some(principal)) => (Named::Principal, principal),
            (None, None) => (Named::User, text),
        };
    if !is_principal(name) || name.len() > MAX_NAMED {
        let how = "write a user's name, \"@\" and a group's, or \"principal:\" and one of certificates";
        return Err(value.fault(format!("\"{text}\" names nobody: {how}, at most {MAX_NAMED} bytes")));
    }
    Ok(meant(name.to_owned()))
}

fn number(value: &Value<'_, '_>) -> Result<u8, Fault> {
    let number = value.value.as_integer().and_then(|integer| integer.as_str().parse::<u8>().ok());
    number
        .filter(|number| (1..=MOST_NEEDED).contains(number))
        .ok_or_else(|| value.fault(format!("\"needed\" is a number from 1 to {MOST_NEEDED}")))
}

#[cfg(test)]
mod tests {
    use crate::{Factor, Named, Unenrolled, read};

    const SERVER: &str = "server = \"https://push.example.com\"\n";

    fn faults(rules: &str) -> String {
        read(&format!("{SERVER}{rules}")).unwrap_err().into_iter().map(|fault| fault.text + "\n").collect()
    }

    fn rule(keys: &str) -> String {
        format!("[[rule]]\nname = \"two\"\nthen = \"approve\"\n{keys}\n")
    }

    #[test]
    fn people_and_groups_are_read_as_written() {
        let config =
            read(&(SERVER.to_owned() + &rule("approvals = { from = [\"@oncall\", \"carol\"], needed = 2 }")))
                .unwrap();
        let approvals = config.rules[0].approvals.as_ref().unwrap();
        assert_eq!((approvals.names(), approvals.needed), (vec!["@oncall".into(), "carol".into()], 2));
        assert_eq!(config.default.approvals, None);
    }

    /// Three kinds of names, of which none can be taken for another.
    #[test]
    fn a_principal_is_no_user_and_no_group() {
        let from = "approvals = { from = [\"oncall\", \"@oncall\", \"principal:oncall\"], needed = 1 }";
        let config = read(&(SERVER.to_owned() + &rule(from))).unwrap();
        let approvals = config.rules[0].approvals.as_ref().unwrap();
        let name = || "oncall".to_owned();
        assert_eq!(approvals.from, [Named::User(name()), Named::Group(name()), Named::Principal(name())]);
        assert_eq!(approvals.names(), ["oncall", "@oncall", "principal:oncall"]);
        assert_eq!(approvals.principals().collect::<Vec<_>>(), ["oncall"]);
    }

    #[test]
    fn what_cannot_be_met_or_means_nobody_is_a_fault() {
        let names: Vec<String> = (0..6).map(|one| format!("\"@{one}{}\"", "x".repeat(28))).collect();
        let long = format!("{{ from = [{}], needed = 1 }}", names.join(", "));
        for (approvals, why) in [
            ("{ from = [\"a\"], needed = 2 }", "nobody could ever pass: 2 are needed, and \"from\" names 1"),
            ("{ from = [\"@a\"], needed = 0 }", "from 1 to 8"),
            ("{ from = [\"@a\"], needed = 9 }", "from 1 to 8"),
            ("{ from = [\"@a\"], needed = \"2\" }", "from 1 to 8"),
            ("{ from = [], needed = 1 }", "1 to 8 users, groups or principals"),
            ("{ from = [\"@a\", \"@a\"], needed = 1 }", "twice"),
            ("{ from = [\"a*\"], needed = 1 }", "names nobody"),
            ("{ from = [\"@\"], needed = 1 }", "names nobody"),
            ("{ from = [\"principal:\"], needed = 1 }", "names nobody"),
            ("{ from = [\"principal:on*\"], needed = 1 }", "names nobody"),
            ("{ from = [\"Principal:oncall\"], needed = 1 }", "names nobody"),
            ("{ from = [\"@principal:oncall\"], needed = 1 }", "names nobody"),
            ("{ from = [\"principal:@oncall\"], needed = 1 }", "names nobody"),
            ("{ from = [\"principal:a\", \"principal:a\"], needed = 1 }", "twice"),
            ("{ from = [\"@a\"] }", "\"approvals\" is {"),
            (&long, "make a group of them"),
            ("{ from = [\"@a\"], needed = 1, of = 2 }", "no key"),
            ("2", "not a number"),
            ("\"user\"", "not a text"),
        ] {
            let text = faults(&rule(&format!("approvals = {approvals}")));
            assert!(text.contains(why), "{approvals}: {text}");
        }
    }

    /// What one person types must not stand in for two people because it was written for rules of one.
    #[test]
    fn what_one_person_may_do_is_not_inherited_by_a_rule_of_several() {
        let default = "[default]\nunenrolled = { skip_until = 2027-03-01 }\noffline = [\"recovery\"]\n";
        let several = "approvals = { from = [\"@oncall\"], needed = 2 }";
        let config = read(&(SERVER.to_owned() + &rule(several) + default)).unwrap();
        let two = &config.rules[0];
        assert_eq!((&two.codes, &two.offline, two.unenrolled), (&vec![], &vec![], Unenrolled::Deny));
        let written = rule(&format!("{several}\ncodes = [\"recovery\"]"));
        let config = read(&(SERVER.to_owned() + &written + default)).unwrap();
        assert_eq!(config.rules[0].codes, [Factor::Recovery]);
        let text = faults(&rule(&format!("{several}\nunenrolled = \"deny\"")));
        assert!(text.contains("whether the user has a device"), "{text}");
    }

    #[test]
    fn a_rule_takes_the_defaults_people_unless_it_says_self() {
        let default = "[default]\napprovals = { from = [\"@oncall\"], needed = 2 }\n";
        let config = read(&(SERVER.to_owned() + &rule("") + default)).unwrap();
        assert_eq!(config.rules[0].approvals.as_ref().map(|one| one.needed), Some(2));
        assert!(config.rules[0].codes.is_empty());
        let config = read(&(SERVER.to_owned() + &rule("approvals = \"self\"") + default)).unwrap();
        assert_eq!(config.rules[0].approvals, None);
        assert_eq!(config.rules[0].codes, [Factor::Recovery], "the built-in ones, as written nowhere else");
    }
}
