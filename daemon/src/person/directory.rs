//! The questions about users and groups, as the host's name service answers them.

use std::ffi::CString;
use std::sync::Arc;

use nix::unistd::{Gid, Group, User, getgrouplist};

/// A user, as far as it is asked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The canonical name.
    pub(super) name: String,
    pub(super) uid: u32,
    /// The primary group's number.
    pub(super) gid: u32,
}

/// A group, and those whom its entry lists. Primary groups list nobody, nor do many directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) gid: u32,
    pub(super) members: Vec<String>,
}

/// Whoever answers. Each question may take long.
pub(super) trait Directory: Send + Sync {
    fn user(&self, name: &str) -> nix::Result<Option<Entry>>;
    fn group(&self, name: &str) -> nix::Result<Option<Listed>>;
    /// The numbers of all the groups that a user is in.
    fn groups_of(&self, user: &Entry) -> nix::Result<Vec<u32>>;
}

/// The host's own name service.
struct System;

impl Directory for System {
    fn user(&self, name: &str) -> nix::Result<Option<Entry>> {
        let user = User::from_name(name)?;
        Ok(user.map(|user| Entry { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
    }

    fn group(&self, name: &str) -> nix::Result<Option<Listed>> {
        let group = Group::from_name(name)?;
        Ok(group.map(|group| Listed { gid: group.gid.as_raw(), members: group.mem }))
    }

    fn groups_of(&self, user: &Entry) -> nix::Result<Vec<u32>> {
        let name = CString::new(user.name.as_str()).map_err(|_| nix::Error::EINVAL)?;
        Ok(getgrouplist(&name, Gid::from_raw(user.gid))?.into_iter().map(Gid::as_raw).collect())
    }
}

/// The one that this thread asks.
pub(super) fn directory() -> Arc<dyn Directory> {
    #[cfg(test)]
    if let Some(directory) = super::testing::directory() {
        return directory;
    }
    Arc::new(System)
}
