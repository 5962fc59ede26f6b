//! Who of those whom a rule names is there: on this host, and with a device.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::Path;

use countersign_policy::{Advice, Approvals, Config, Kind, Named, Then};
use countersign_protocol::manage::{Call, Devices};
use nix::unistd::{Group, User, getgrouplist};

use crate::manage_client::{ManageClient, SHORT};
use crate::output::{Failure, Outcome};

/// What to do about a name that nobody has.
const MEND: &str = "mend the name, or make it: ";

/// Somebody with a device here.
#[derive(Debug, Clone, Default)]
pub(super) struct Owner {
    name: String,
    /// By which principals certificates name them.
    principals: Vec<String>,
}

/// Everybody who has a device here, as the daemon says; `None` where it does not answer, or not to this caller.
pub(super) fn with_device(run: &Path) -> Option<Vec<Owner>> {
    let found: Devices = ManageClient::connect(run).ok()?.call(&Call::Devices { user: None }, SHORT).ok()?;
    let mut users: BTreeMap<String, Owner> = BTreeMap::new();
    for device in found.devices {
        let owner = users.entry(device.user.clone()).or_default();
        owner.name = device.user;
        owner.principals.extend(device.principals);
    }
    Some(users.into_values().collect())
}

/// Those of them whom a rule names, each person once.
///
/// # Errors
/// When the name service fails.
pub(super) fn named(approvals: &Approvals, users: &[Owner]) -> Outcome<Vec<String>> {
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    for one in &approvals.from {
        match one {
            Named::User(name) => uids.extend(User::from_name(name).map_err(fault)?.map(|user| user.uid)),
            Named::Group(name) => gids.extend(Group::from_name(name).map_err(fault)?.map(|group| group.gid)),
            Named::Principal(_) => {}
        }
    }
    let (mut seen, mut members) = (Vec::new(), Vec::new());
    for Owner { name, principals } in users {
        let (Some(user), Ok(c_name)) = (User::from_name(name).map_err(fault)?, CString::new(name.as_str()))
        else {
            continue;
        };
        let groups = getgrouplist(&c_name, user.gid).map_err(fault)?;
        let is_one = uids.contains(&user.uid)
            || groups.iter().any(|group| gids.contains(group))
            || approvals.principals().any(|wanted| principals.iter().any(|has| has == wanted));
        if is_one && !seen.contains(&user.uid) {
            seen.push(user.uid);
            members.push(name.clone());
        }
    }
    Ok(members)
}

/// How many of those whom a rule names have a device.
pub(super) fn counted(have: &[String]) -> String {
    match have {
        [] => "none of them has a device here".to_owned(),
        [one] => format!("1 of them has a device here: {one}"),
        more => format!("{} of them have a device here: {}", more.len(), more.join(", ")),
    }
}

/// What is wrong with the people whom rules name. `users` have a device, where that is known.
///
/// # Errors
/// When the name service fails.
pub(super) fn advice(config: &Config, users: Option<&[Owner]>) -> Outcome<Vec<Advice>> {
    let mut advice = Vec::new();
    for rule in config.rules.iter().chain([&config.default]) {
        for group in rule.when.group.iter().flat_map(|groups| groups.meant.iter().chain(&groups.not)) {
            if Group::from_name(group).map_err(fault)?.is_none() {
                let text =
                    format!("this host has no group \"{group}\" of its \"when\": {MEND}groupadd {group}");
                advice.push(Advice { rule: rule.name.clone(), kind: Kind::People, text });
            }
        }
        let asks = matches!(rule.then, Then::Approve | Then::Observe);
        let Some(approvals) = rule.approvals.as_ref().filter(|_| asks) else { continue };
        let mut say =
            |text: String| advice.push(Advice { rule: rule.name.clone(), kind: Kind::People, text });
        for one in &approvals.from {
            let is_user = |name: &str| User::from_name(name).map_err(fault).map(|user| user.is_some());
            let missing = match one {
                Named::User(name) => (!is_user(name)?).then_some(("user", "useradd", name)),
                Named::Group(name) => {
                    let is_none = Group::from_name(name).map_err(fault)?.is_none();
                    is_none.then_some(("group", "groupadd", name))
                }
                Named::Principal(name) => {
                    if is_user(name)? {
                        say(format!(
                            "\"{one}\" is a user's name, too: whose certificate names that user beside themself is one of \
                             these. Choose a name that is nobody's"
                        ));
                    }
                    None
                }
            };
            if let Some((what, command, name)) = missing {
                say(format!("this host has no {what} for \"{one}\" of its \"from\": {MEND}{command} {name}"));
            }
        }
        let Some(users) = users else { continue };
        let have = named(approvals, users)?;
        if have.len() < usize::from(approvals.needed) {
            let needed = match approvals.needed {
                1 => "1 person has".to_owned(),
                needed => format!("{needed} people have"),
            };
            let can = match have.len() {
                0 => "nobody whom it names can".to_owned(),
                _ => format!("only {} can", have.join(", ")),
            };
            say(format!("{needed} to approve, and {can}: nobody passes. {}", next(approvals)));
        }
    }
    Ok(advice)
}

/// What more people need before they can approve.
fn next(approvals: &Approvals) -> String {
    let principals: Vec<&str> = approvals.principals().collect();
    if principals.is_empty() {
        return "The others need a device: countersign pair USER".to_owned();
    }
    let by_name = if principals.len() < approvals.from.len() { ", where a principal names them" } else { "" };
    format!(
        "The others need a device (countersign pair USER){by_name} with a certificate for their name and {} \
         (countersign devices shows which have one)",
        principals.join(" or ")
    )
}

fn fault(error: nix::Error) -> Failure {
    Failure::broken("the name service", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_policy::read;

    fn config(from: &str, needed: u8) -> Config {
        let rule = format!(
            "[[rule]]\nname = \"x\"\nthen = \"approve\"\napprovals = {{ from = {from}, needed = {needed} }}"
        );
        read(&format!("server = \"https://push.example.com\"\n{rule}\n")).unwrap()
    }

    fn said(from: &str, needed: u8, users: Option<&[Owner]>) -> Vec<String> {
        advice(&config(from, needed), users).unwrap().into_iter().map(|one| one.text).collect()
    }

    fn owner(name: &str, principals: &[&str]) -> Owner {
        Owner { name: name.into(), principals: principals.iter().map(|one| (*one).to_owned()).collect() }
    }

    #[test]
    fn whom_certificates_name_is_counted_and_a_principal_like_a_user_is_told() {
        let root = [owner("root", &["oncall"]), owner("no-such-user-here", &["oncall"])];
        assert_eq!(said("[\"principal:oncall\"]", 1, Some(&root)), Vec::<String>::new());
        assert!(said("[\"principal:oncall\", \"root\"]", 2, Some(&root))[0].contains("only root can"));
        let nobody = said("[\"principal:on\"]", 1, Some(&root)).remove(0);
        assert!(nobody.starts_with("1 person has to approve, and nobody whom it names can"), "{nobody}");
        assert!(nobody.contains("with a certificate for their name and on "), "{nobody}");
        assert!(said("[\"@oncall\"]", 1, Some(&root))[0].contains("no group"), "a principal is no group");
        assert!(said("[\"principal:root\"]", 1, None)[0].contains("\"principal:root\" is a user's name"));
    }

    #[test]
    fn a_group_that_a_condition_names_and_nobody_knows_is_told() {
        let rule =
            "[[rule]]\nname = \"x\"\nwhen = { group = [\"root\", \"!no-such-group\"] }\nthen = \"skip\"\n";
        let config = read(&format!("server = \"https://push.example.com\"\n{rule}")).unwrap();
        let texts: Vec<String> = advice(&config, None).unwrap().into_iter().map(|one| one.text).collect();
        assert_eq!(texts.len(), 1);
        assert!(texts[0].ends_with("of its \"when\": mend the name, or make it: groupadd no-such-group"));
    }

    #[test]
    fn names_of_nobody_and_too_few_devices_are_told() {
        let root = [owner("root", &[]), owner("no-such-user-here", &[])];
        assert_eq!(said("[\"@root\"]", 1, Some(&root)), Vec::<String>::new());
        assert_eq!(said("[\"@root\"]", 2, None), Vec::<String>::new(), "who has a device is not known");
        let texts = said("[\"@no-such-group\", \"no-such-user-here\"]", 1, None);
        assert_eq!(texts.len(), 2);
        assert!(texts[0].contains("no group for \"@no-such-group\"") && texts[1].contains("no user for"));
        assert!(said("[\"@root\", \"root\"]", 2, Some(&root))[0].ends_with("countersign pair USER"));
    }
}
