//! Where everything is that turning on and off touches.

use std::path::{Path, PathBuf};

/// The folder that all of it is in, `/etc` but in tests.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Places {
    etc: PathBuf,
}

impl Places {
    pub(in crate::commands) fn of(etc: &Path) -> Self {
        Self { etc: etc.to_owned() }
    }

    /// The folder of the PAM services.
    pub(super) fn pam(&self) -> PathBuf {
        self.etc.join("pam.d")
    }

    /// The file of one.
    pub(super) fn service(&self, name: &str) -> PathBuf {
        self.pam().join(name)
    }

    /// sshd's settings.
    pub(super) fn sshd_config(&self) -> PathBuf {
        self.etc.join("ssh/sshd_config")
    }

    /// Ours among them. Its name comes early: sshd takes the first value that it finds.
    pub(super) fn drop_in(&self) -> PathBuf {
        self.etc.join("ssh/sshd_config.d/00-countersign.conf")
    }

    /// The daemon's settings.
    pub(super) fn ours(&self) -> PathBuf {
        self.etc.join("countersign")
    }

    /// The administrator's policy.
    pub(super) fn policy(&self) -> PathBuf {
        self.ours().join("countersign.toml")
    }

    /// The names of the services that are on.
    pub(super) fn enabled(&self) -> PathBuf {
        self.ours().join("enabled")
    }

    /// What is kept of a change until it is confirmed.
    pub(super) fn pending(&self) -> PathBuf {
        self.ours().join("pending")
    }

    /// What the change is. Where it is there, there is a change to confirm or to take back.
    pub(super) fn record(&self) -> PathBuf {
        self.pending().join("record.json")
    }

    /// What `countersign status` says of a change that was taken back.
    pub(super) fn note(&self) -> PathBuf {
        self.pending().join("rolled-back.json")
    }
}
