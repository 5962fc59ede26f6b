//! What a module or a stack returns.

use std::fmt;

/// A return value of PAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u8);

/// The names that a control in brackets knows them by; the place is the value.
const NAMES: [&str; Code::COUNT] = [
    "success",
    "open_err",
    "symbol_err",
    "service_err",
    "system_err",
    "buf_err",
    "perm_denied",
    "auth_err",
    "cred_insufficient",
    "authinfo_unavail",
    "user_unknown",
    "maxtries",
    "new_authtok_reqd",
    "acct_expired",
    "session_err",
    "cred_unavail",
    "cred_expired",
    "cred_err",
    "no_module_data",
    "conv_err",
    "authtok_err",
    "authtok_recover_err",
    "authtok_lock_busy",
    "authtok_disable_aging",
    "try_again",
    "ignore",
    "abort",
    "authtok_expired",
    "module_unknown",
    "bad_item",
    "conv_again",
    "incomplete",
];

impl Code {
    /// How many there are.
    pub const COUNT: usize = 32;
    /// It went well.
    pub const SUCCESS: Self = Self(0);
    /// Something is broken.
    pub const SYSTEM_ERR: Self = Self(4);
    /// What libpam says of a stack in which nobody has decided, and of lines that it cannot read.
    pub const PERM_DENIED: Self = Self(6);
    /// Wrong password, or denied.
    pub const AUTH_ERR: Self = Self(7);
    /// Nobody could be asked.
    pub const AUTHINFO_UNAVAIL: Self = Self(9);
    /// No such user.
    pub const USER_UNKNOWN: Self = Self(10);
    /// Too many tries.
    pub const MAXTRIES: Self = Self(11);
    /// The password is to be changed.
    pub const NEW_AUTHTOK_REQD: Self = Self(12);
    /// The session cannot be opened.
    pub const SESSION_ERR: Self = Self(14);
    /// Not the module's business.
    pub const IGNORE: Self = Self(25);
    /// The login is over.
    pub const ABORT: Self = Self(26);
    /// The module is not there.
    pub const MODULE_UNKNOWN: Self = Self(28);
    /// The module wants to be called again.
    pub const INCOMPLETE: Self = Self(31);

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).filter_map(|value| u8::try_from(value).ok()).map(Self)
    }

    /// From libpam's number.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        u8::try_from(number).ok().filter(|value| usize::from(*value) < Self::COUNT).map(Self)
    }

    /// libpam's number.
    #[must_use]
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }

    /// As a control in brackets names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.get(self.index()).copied().unwrap_or("unknown")
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
