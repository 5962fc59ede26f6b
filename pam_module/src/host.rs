//! The process that loaded the module, as seen through libpam and libc: the only unsafe code.
#![allow(unsafe_code)]

use crate::client::{self, Connection, Lost};
use crate::facts::{Caller, Items};
use crate::story::Host;
use countersign_protocol::login::{MAX_TEXT, Style, TOKEN_VARIABLE};
use countersign_protocol::text::clip;
use libc::{c_char, c_int};
use nix::unistd::{geteuid, getuid};
use pam::constants::{PAM_ERROR_MSG, PAM_PROMPT_ECHO_ON, PAM_SILENT, PAM_TEXT_INFO, PamFlag};
use pam::conv::Conv;
use pam::items::{RHost, RUser, Service, Tty, User};
use pam::module::PamHandle;
use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use zeroize::Zeroizing;

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_getenv(pamh: *mut PamHandle, name: *const c_char) -> *const c_char;
    fn pam_putenv(pamh: *mut PamHandle, name_value: *const c_char) -> c_int;
    fn pam_syslog(pamh: *const PamHandle, priority: c_int, format: *const c_char, ...);
}

/// The PAM handle of the login.
pub(crate) struct PamHost<'a> {
    pamh: &'a mut PamHandle,
    flags: PamFlag,
}

impl<'a> PamHost<'a> {
    pub(crate) fn new(pamh: &'a mut PamHandle, flags: PamFlag) -> Self {
        static QUIET: Once = Once::new();
        // A panic must not print: standard error belongs to the host process. The hook is this library's
        // own, since it brings its own copy of the standard library.
        QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
        Self { pamh, flags }
    }

    fn variable(&mut self, name: &CStr) -> Option<Vec<u8>> {
        // SAFETY: the handle is the one libpam gave us for the length of this call; the name ends in NUL.
        let value = unsafe { pam_getenv(self.pamh, name.as_ptr()) };
        if value.is_null() {
            return None;
        }
        // SAFETY: pam_getenv returns a NUL-terminated string that stays until the variable is changed, and
        // it is copied before anything else is asked of libpam.
        Some(unsafe { CStr::from_ptr(value) }.to_bytes().to_vec())
    }

    /// `NAME=value` sets, `NAME` removes.
    fn set_variable(&mut self, name_value: &CStr) -> bool {
        // SAFETY: the handle is the one libpam gave us for the length of this call; libpam copies the text.
        let result = unsafe { pam_putenv(self.pamh, name_value.as_ptr()) };
        result == pam::constants::PamResultCode::PAM_SUCCESS as c_int
    }
}

impl Host for PamHost<'_> {
    type Daemon = Connection;

    fn items(&mut self) -> Items {
        // Asks for the name if the application has not set it. Whether that worked shows in the item.
        let _ = self.pamh.get_user(None);
        let copy = |item: Option<&CStr>| item.map(|text| text.to_bytes().to_vec());
        let user = self.user();
        let pamh = &*self.pamh;
        Items {
            user,
            service: copy(pamh.get_item::<Service<'_>>().ok().flatten().map(|item| item.0)),
            remote_host: copy(pamh.get_item::<RHost<'_>>().ok().flatten().map(|item| item.0)),
            remote_user: copy(pamh.get_item::<RUser<'_>>().ok().flatten().map(|item| item.0)),
            terminal: copy(pamh.get_item::<Tty<'_>>().ok().flatten().map(|item| item.0)),
            ssh_auth_info: self.variable(c"SSH_AUTH_INFO_0"),
        }
    }

    fn user(&self) -> Option<Vec<u8>> {
        Some(self.pamh.get_item::<User<'_>>().ok()??.to_bytes().to_vec())
    }

    fn caller(&mut self, service: &str) -> Caller {
        Caller::look(service)
    }

    fn connect(&mut self, path: &Path, caller: Caller) -> Result<Connection, Lost> {
        client::connect(path, caller.socket)
    }

    fn silent(&self) -> bool {
        self.flags & PAM_SILENT != 0
    }

    fn tells_by_prompt(&mut self) -> bool {
        static TOLD: AtomicBool = AtomicBool::new(false);
        // Somebody has started it on a terminal: what runs as root by itself, as sshd does, has nobody to look at it.
        let terminal = self.pamh.get_item::<Tty<'_>>().ok().flatten();
        let has_terminal = terminal.is_some_and(|item| item.0.to_bytes().starts_with(b"/dev/"));
        self.silent() && is_set_uid() && has_terminal && !TOLD.swap(true, Ordering::Relaxed)
    }

    fn say(&mut self, style: Style, text: &str) {
        let style = match style {
            Style::Info => PAM_TEXT_INFO,
            Style::Error => PAM_ERROR_MSG,
        };
        if let Ok(Some(conversation)) = self.pamh.get_item::<Conv<'_>>() {
            let _ = conversation.send(style, text);
        }
    }

    fn ask(&mut self, text: &str) -> Option<Zeroizing<String>> {
        let conversation = self.pamh.get_item::<Conv<'_>>().ok()??;
        // Echo on, always: sshd's `password` method answers an echo-off prompt with the password.
        let answer = conversation.send(PAM_PROMPT_ECHO_ON, text).ok()??;
        Some(typed(answer.as_bytes()))
    }

    fn take_token(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let name = CString::new(TOKEN_VARIABLE).ok()?;
        let token = self.variable(&name)?;
        // Only what is there can be removed: libpam logs an error otherwise.
        self.set_variable(&name);
        Some(Zeroizing::new(token))
    }

    fn keep_token(&mut self, token: &str) -> bool {
        let mut text = Zeroizing::new(Vec::with_capacity(TOKEN_VARIABLE.len() + token.len() + 2));
        text.extend_from_slice(TOKEN_VARIABLE.as_bytes());
        text.push(b'=');
        text.extend_from_slice(token.as_bytes());
        text.push(0);
        CStr::from_bytes_with_nul(&text).is_ok_and(|text| self.set_variable(text))
    }

    fn log(&self, priority: c_int, line: &str) {
        // The line has been escaped, so there is no NUL in it.
        let Ok(line) = CString::new(line) else { return };
        let pamh: *const PamHandle = &raw const *self.pamh;
        // SAFETY: the handle is valid for this call; the format takes exactly the one string passed.
        unsafe { pam_syslog(pamh, priority, c"%s".as_ptr(), line.as_ptr()) };
    }
}

/// What was typed, as text of bounded length. What is none, or too long, was still an answer: passing it
/// for an application that cannot ask would let whoever types choose a tap in place of a code.
pub(crate) fn typed(answer: &[u8]) -> Zeroizing<String> {
    let text = Zeroizing::new(String::from_utf8_lossy(answer).into_owned());
    Zeroizing::new(clip(&text, MAX_TEXT).to_owned())
}

/// Whether a user has started this process, which has another's rights.
pub(crate) fn is_set_uid() -> bool {
    privileged_at_exec() || getuid() != geteuid()
}

/// Whether the process got privileges at exec (set-uid, set-gid, file capabilities), so that whoever
/// started it chose its arguments, environment and open files.
fn privileged_at_exec() -> bool {
    // SAFETY: getauxval reads a table that the kernel has left in the process; it takes no pointer.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// A duplicate of a descriptor that belongs to the host process.
pub(crate) fn duplicate(fd: RawFd) -> Option<OwnedFd> {
    if fd < 0 {
        return None;
    }
    // SAFETY: the kernel listed the descriptor a moment ago; it is used for this one fcntl only, which
    // fails without harm should the host have closed it.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().ok()
}
