//! `org.countersign.Countersign1`: the daemon's management calls on the system bus, for desktops. A process of its own that the
//! bus starts, so that the daemon needs no bus; it ends when nobody uses it.
//!
//! It decides nothing by itself. Who calls is the bus's word, never the caller's ([`clients`]); whether they may is
//! polkit's ([`authority`]); and then it speaks to the daemon with that caller's own rights, or with root's where an
//! administrator has authorized it ([`link`]). No method can approve anything.

mod authority;
mod clients;
mod fault;
mod link;
mod methods;
mod service;
mod signals;
mod talks;
mod values;

use crate::output::{Exit, Failure, Outcome};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::task::LocalSet;

/// Its name on the bus, and that of its interface.
const NAME: &str = "org.countersign.Countersign1";
/// Its one object.
const PATH: &str = "/org/countersign/Countersign1";
/// What the object has.
const INTROSPECTION: &str = include_str!("../../../polkit/org.countersign.Countersign1.xml");

/// Serves until nobody has used it for so long, and no program that has called it is left.
pub(crate) fn run(run: &Path, idle: Duration) -> Outcome<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::broken("cannot start", error))?;
    LocalSet::new()
        .block_on(&runtime, service::serve(run, idle))
        .map_err(|why| Failure::new(Exit::Broken, why))?;
    Ok(ExitCode::SUCCESS)
}
