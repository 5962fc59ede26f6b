//! `pam_countersign.so`: hands a login to countersignd and reports its verdict.
//!
//! A conversation pump: no policy, no cryptography, no network, no threads. It runs inside sshd, sudo
//! and whatever else loads PAM modules, so it prints nothing, changes nothing in its host process and
//! refuses whenever something is not as it should be. [`story`] tells a login from start to end;
//! [`host`] is the only file with unsafe code. [`args`] reads the words of the PAM file, [`facts`] asks PAM who comes, [`peer`]
//! asks the kernel from where, [`client`] speaks with the daemon, and [`polkit`] knows its helper.
#![deny(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(not(panic = "unwind"))]
compile_error!("build with panic = \"unwind\": an abort would take sshd or sudo down with the module");

#[cfg(all(feature = "fuzzing", not(debug_assertions)))]
compile_error!("the feature \"fuzzing\" opens what is private: no build that may be shipped has it");

mod args;
mod client;
mod facts;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod host;
mod peer;
mod polkit;
mod story;

use countersign_protocol::login::Stage;
use host::PamHost;
use pam::constants::{PamFlag, PamResultCode};
use pam::module::{PamHandle, PamHooks};
use std::ffi::CStr;

struct Countersign;

pam::pam_hooks!(Countersign);

impl PamHooks for Countersign {
    fn sm_authenticate(pamh: &mut PamHandle, args: Vec<&CStr>, flags: PamFlag) -> PamResultCode {
        story::guarded(&mut PamHost::new(pamh, flags), Stage::Auth, &args)
    }

    /// The gate for logins that sshd lets in by key alone, which skip `authenticate`.
    fn sm_open_session(pamh: &mut PamHandle, args: Vec<&CStr>, flags: PamFlag) -> PamResultCode {
        story::guarded(&mut PamHost::new(pamh, flags), Stage::Session, &args)
    }

    /// There are no credentials to set. libpam judges this result by the control of the `auth` line,
    /// where anything but success fails the stack.
    fn sm_setcred(_: &mut PamHandle, _: Vec<&CStr>, _: PamFlag) -> PamResultCode {
        PamResultCode::PAM_SUCCESS
    }

    /// Nothing to say about accounts: whoever got here has passed `auth` or comes to `session` yet.
    fn acct_mgmt(_: &mut PamHandle, _: Vec<&CStr>, _: PamFlag) -> PamResultCode {
        PamResultCode::PAM_IGNORE
    }

    /// Closing opens nothing. As with setcred, libpam judges by the control of the line that opened, and
    /// a stack in which every module ignores the call would report an error.
    fn sm_close_session(_: &mut PamHandle, _: Vec<&CStr>, _: PamFlag) -> PamResultCode {
        PamResultCode::PAM_SUCCESS
    }

    /// A `password` line with this module is a mistake, so it must not look as if it did something.
    fn sm_chauthtok(pamh: &mut PamHandle, _: Vec<&CStr>, flags: PamFlag) -> PamResultCode {
        story::refuse_password_change(&PamHost::new(pamh, flags))
    }
}
