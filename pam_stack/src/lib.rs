//! PAM service files, read as libpam reads them, and what their stacks answer.
//!
//! [`Service`] is one file as it is written, line by line, for whoever wants to change it. [`Stack`] is what libpam makes of a
//! service for one stage: all modules in order, those of included files too, each with its place. [`Stack::run`] is
//! libpam's way through it: given what each module returns, what does the program hear?
//!
//! The rules are those of Linux-PAM 1.5 with Debian's `@include`; `tests/libpam.rs` holds this crate against the real library.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod code;
mod control;
pub mod examine;
mod folders;
mod run;
mod service;
mod stack;
mod words;

pub use code::Code;
pub use control::{Action, Actions, Control};
pub use folders::{Folders, MAX_FILE, ReadFault, Seen};
pub use run::{Run, Setcred};
pub use service::{Line, Module, Service, What};
pub use stack::{Handler, Kind, MAX_DEPTH, MAX_HANDLERS, Place, Stack};

/// What a line of a service file is for; libpam calls it the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Who is it?
    Auth,
    /// May this account be used now?
    Account,
    /// What happens around a login.
    Session,
    /// Changing the password.
    Password,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Auth, Self::Account, Self::Session, Self::Password];

    /// As it is written in a file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Account => "account",
            Self::Session => "session",
            Self::Password => "password",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name().eq_ignore_ascii_case(word))
    }
}
