//! What a module could return, and to whom.

use crate::{Code, Handler, Module, Stage};

/// The group whose members are never asked.
pub const BREAK_GLASS: &str = "countersign-breakglass";

/// What kind of module it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `pam_countersign`.
    Ours,
    /// The question whether somebody is in [`BREAK_GLASS`].
    BreakGlass,
    /// It checks a password.
    Password,
    /// It checks something else that the person has or is.
    Factor,
    /// It asks something about the user or the host.
    Question,
    /// It asks whether the caller is root.
    RootOk,
    /// Always yes.
    Permit,
    /// Always no.
    Deny,
    /// It lets nobody in by itself.
    Neutral,
    /// Not known: it may return whatever it likes.
    Unknown,
}

const PASSWORD: [&str; 16] = [
    "pam_aad",
    "pam_authd",
    "pam_ecryptfs",
    "pam_himmelblau",
    "pam_kanidm",
    "pam_krb5",
    "pam_ldap",
    "pam_lsass",
    "pam_radius_auth",
    "pam_sss",
    "pam_systemd_home",
    "pam_tcb",
    "pam_unix",
    "pam_unix2",
    "pam_userdb",
    "pam_winbind",
];
const FACTOR: [&str; 13] = [
    "pam_duo",
    "pam_fprintd",
    "pam_google_authenticator",
    "pam_howdy",
    "pam_oath",
    "pam_p11",
    "pam_pkcs11",
    "pam_privacyidea",
    "pam_sss_gss",
    "pam_ssh_agent_auth",
    "pam_u2f",
    "pam_usb",
    "pam_yubico",
];
const QUESTION: [&str; 8] = [
    "pam_access",
    "pam_listfile",
    "pam_localuser",
    "pam_rhosts",
    "pam_succeed_if",
    "pam_time",
    "pam_usertype",
    "pam_wheel",
];
const NEUTRAL: [&str; 34] = [
    "pam_cap",
    "pam_console",
    "pam_echo",
    "pam_env",
    "pam_faildelay",
    "pam_faillock",
    "pam_ftp",
    "pam_gdm",
    "pam_gnome_keyring",
    "pam_group",
    "pam_issue",
    "pam_keyinit",
    "pam_kwallet",
    "pam_kwallet5",
    "pam_lastlog",
    "pam_lastlog2",
    "pam_limits",
    "pam_loginuid",
    "pam_mail",
    "pam_mkhomedir",
    "pam_motd",
    "pam_namespace",
    "pam_nologin",
    "pam_oddjob_mkhomedir",
    "pam_reauthorize",
    "pam_securetty",
    "pam_selinux",
    "pam_sepermit",
    "pam_shells",
    "pam_systemd",
    "pam_tally2",
    "pam_umask",
    "pam_warn",
    "pam_xauth",
];

/// Whether a line is ours. A module that was just built is called `libpam_countersign.so`.
#[must_use]
pub fn is_ours(handler: &Handler) -> bool {
    handler.module().is_some_and(|module| class(module) == Class::Ours)
}

/// Whether a line is ours and says that no password goes before it: the daemon then refuses whom no rule of the policy
/// lets in without one.
#[must_use]
pub fn is_passwordless(handler: &Handler) -> bool {
    is_ours(handler)
        && handler.module().is_some_and(|module| module.args.iter().any(|arg| arg == "passwordless"))
}

/// Whether a line asks for the break-glass group.
#[must_use]
pub fn is_break_glass(handler: &Handler) -> bool {
    handler.module().is_some_and(|module| class(module) == Class::BreakGlass)
}

/// What kind of module a line calls.
#[must_use]
pub fn class(module: &Module) -> Class {
    let name = module.name();
    match name {
        _ if name.ends_with("pam_countersign") => Class::Ours,
        "pam_succeed_if" if is_membership(&module.args) => Class::BreakGlass,
        "pam_rootok" => Class::RootOk,
        "pam_permit" => Class::Permit,
        "pam_deny" => Class::Deny,
        "pam_faillock" if module.args.iter().any(|arg| arg == "authfail") => Class::Deny,
        _ if PASSWORD.contains(&name) && module.stage == Stage::Auth => Class::Password,
        _ if FACTOR.contains(&name) && module.stage == Stage::Auth => Class::Factor,
        _ if QUESTION.contains(&name) => Class::Question,
        _ if NEUTRAL.contains(&name) || module.stage != Stage::Auth => Class::Neutral,
        _ => Class::Unknown,
    }
}

/// Words of pam_succeed_if that change nothing about its question, but whom it is about (`use_uid`: who calls).
const BESIDE: [&str; 6] = ["audit", "debug", "quiet", "quiet_fail", "quiet_success", "use_uid"];

/// Whether it asks for the break-glass group and for nothing else: of any other question with that name in it (`notingroup`,
/// a second group) nobody knows who meets it.
fn is_membership(args: &[String]) -> bool {
    let words: Vec<&str> = args.iter().map(String::as_str).filter(|word| !BESIDE.contains(word)).collect();
    words == ["user", "ingroup", BREAK_GLASS]
}

/// Whether a line seems to be meant as the break-glass line, and is none.
pub(super) fn is_nearly_break_glass(module: &Module) -> bool {
    module.name() == "pam_succeed_if"
        && class(module) != Class::BreakGlass
        && module.args.iter().any(|arg| arg.contains(BREAK_GLASS))
}

/// Whether it is known who meets a question, or does not meet it: some people that are named, and not all others.
pub(super) fn names_people(module: &Module, code: Code) -> bool {
    let is_met = code == Code::SUCCESS;
    match module.name() {
        "pam_succeed_if" => {
            let words: Vec<&str> =
                module.args.iter().map(String::as_str).filter(|word| !BESIDE.contains(word)).collect();
            let (conditions, rest) = words.as_chunks::<3>();
            let named = |condition: &[&str; 3], is: &[&str]| {
                let [subject, relation, _] = condition;
                *subject == "user" && is.contains(relation)
            };
            // All of them have to hold; one that names people is enough.
            rest.is_empty()
                && if is_met {
                    conditions.iter().any(|one| named(one, &["=", "in", "ingroup", "innetgr"]))
                } else {
                    !conditions.is_empty()
                        && conditions
                            .iter()
                            .all(|one| named(one, &["!=", "notin", "notingroup", "notinnetgr"]))
                }
        }
        "pam_listfile" => {
            let has = |word: &str| module.args.iter().any(|arg| arg == word);
            (has("item=user") || has("item=group")) && has(if is_met { "sense=allow" } else { "sense=deny" })
        }
        _ => false,
    }
}

/// Who comes, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    /// A member of the break-glass group.
    pub break_glass: bool,
    /// With the right password.
    pub password: bool,
    /// Perhaps with another factor, and with luck in all that is not known.
    pub others: bool,
    /// The caller is root (`pam_rootok`).
    pub root: bool,
    /// What our module says.
    pub ours: Code,
}

impl Who {
    /// What a module may return to them. The first is the likeliest.
    pub(super) fn hears(self, module: &Module) -> Vec<Code> {
        let yes_or_no = |yes| vec![if yes { Code::SUCCESS } else { Code::AUTH_ERR }];
        match class(module) {
            Class::Ours => vec![self.ours],
            Class::BreakGlass => yes_or_no(self.break_glass),
            Class::Password if self.password => vec![Code::SUCCESS, Code::AUTH_ERR, Code::USER_UNKNOWN],
            Class::Password => vec![Code::AUTH_ERR, Code::USER_UNKNOWN],
            Class::Factor | Class::Unknown if self.others => {
                vec![Code::SUCCESS, Code::IGNORE, Code::AUTH_ERR, Code::USER_UNKNOWN]
            }
            Class::Factor | Class::Unknown => vec![Code::AUTH_ERR],
            Class::Question => vec![Code::SUCCESS, Code::AUTH_ERR],
            Class::RootOk => yes_or_no(self.root),
            Class::Permit => vec![Code::SUCCESS],
            Class::Deny => vec![Code::AUTH_ERR],
            Class::Neutral => vec![Code::SUCCESS, Code::IGNORE],
        }
    }
}
