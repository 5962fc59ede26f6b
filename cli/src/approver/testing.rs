//! What tests of several files need.

use super::inbox::Verified;
use countersign_protocol::message::{
    Approvals, Confirm, Envelope, Host, Kind, MessageType, Remote, RemoteSource, Request, Sealed, VERSION,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that goes away with it.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("countersign-test-{}-{n}", std::process::id()));
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A login of alice at web1 that came with time 1,000,000 and has a minute.
pub(crate) fn request(id: &str) -> Request {
    Request {
        version: VERSION,
        id: id.to_owned(),
        reply_key: String::new(),
        host: Host { name: "web1".into(), key: "ssh-ed25519 AAAA".into() },
        user: "alice".into(),
        uid: 1000,
        requester: None,
        service: "sshd".into(),
        kind: Kind::Login,
        command: None,
        action: None,
        detail: None,
        list: None,
        terminal: Some("ssh".into()),
        remote: Some(Remote { address: "192.0.2.7".into(), port: Some(50122), source: RemoteSource::Kernel }),
        ssh_key: None,
        context: None,
        issued_at: 1_000_000,
        expires_in: 60,
        confirm: Confirm::Code,
        lease_max: None,
        lease_uses: None,
        approvals: Approvals { needed: 1, from: vec!["alice".into()] },
    }
}

/// The same of an action that comes with a list.
pub(crate) fn listed(id: &str, text: &str) -> Request {
    let list = Some(countersign_protocol::list::describe(text).unwrap());
    Request { kind: Kind::Action, action: Some("apt.install".into()), list, remote: None, ..request(id) }
}

/// The same as if its signature had been verified.
pub(crate) fn verified(request: Request) -> Verified {
    Verified {
        digest: format!("{:0>64}", request.id),
        request,
        host: "HOSTKEYID".into(),
        host_name: "web1".into(),
        server: "https://push.example.com".into(),
        users: vec!["alice".into()],
    }
}

/// Some sealed decision.
pub(crate) fn sealed(id: &str) -> Sealed {
    let envelope = Envelope {
        version: VERSION,
        message_type: MessageType::Decision,
        from: "DEVICE".into(),
        to: "HOSTKEYID".into(),
        id: id.to_owned(),
    };
    Sealed { envelope: serde_json::to_string(&envelope).unwrap(), sealed: String::new() }
}
