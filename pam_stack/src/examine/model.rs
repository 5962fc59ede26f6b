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
        "pam_succeed_if" if module.args.iter().any(|arg| arg.contains(BREAK_GLASS)) => Class::BreakGlass,
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
