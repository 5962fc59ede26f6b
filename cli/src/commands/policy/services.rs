//! Which PAM services of this host ask us.

use std::path::Path;

use countersign_pam_stack::examine::is_ours;
use countersign_pam_stack::{Folders, Stack, Stage};
use countersign_policy::Asking;
use countersign_protocol::login;

/// The services whose stack has our module, itself or by an include, and for which stages; `None` when the folder
/// cannot be read.
pub(super) fn asking(folder: &Path) -> Option<Vec<Asking>> {
    let folders = Folders::of([folder]);
    let asks = |name: &str, stage| Stack::of(&folders, name, stage).handlers.iter().any(is_ours);
    let asking = folders.names().ok()?.into_iter().map(|service| {
        let stages = [(login::Stage::Auth, Stage::Auth), (login::Stage::Session, Stage::Session)];
        let stages = stages.into_iter().filter(|(_, stage)| asks(&service, *stage)).map(|(stage, _)| stage);
        Asking { stages: stages.collect(), service }
    });
    Some(asking.filter(|one| !one.stages.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_protocol::login::Stage;

    #[test]
    fn a_service_asks_by_itself_or_by_what_it_includes() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("sudo", "auth required pam_countersign.so"),
            ("common", "-auth [success=1 default=ignore] /lib/security/pam_countersign.so # last"),
            ("gate", "session required pam_countersign.so"),
            ("login", "@include common\nsession include gate"),
            ("su", "auth substack common\nauth include gate"),
            ("sshd", "# auth required pam_countersign.so\nauth required pam_unix.so"),
            ("round", "@include round"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let (auth, session) = (Stage::Auth, Stage::Session);
        let asking: Vec<(String, Vec<Stage>)> =
            asking(folder.path()).unwrap().into_iter().map(|one| (one.service, one.stages)).collect();
        let expected: [(&str, &[Stage]); 5] = [
            ("common", &[auth]),
            ("gate", &[session]),
            ("login", &[auth, session]),
            ("su", &[auth]),
            ("sudo", &[auth]),
        ];
        assert_eq!(asking, expected.map(|(name, stages)| (name.to_owned(), stages.to_vec())));
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_known() {
        assert_eq!(asking(Path::new("/nowhere/pam.d")), None);
    }
}
