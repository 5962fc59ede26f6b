//! Which PAM services of this host ask us.

use std::collections::BTreeMap;
use std::path::Path;

use countersign_files::{Links, Owner, read_bytes};
use countersign_policy::{Asking, stage_name};
use countersign_protocol::login::Stage;

/// Longest file of a PAM service that is read.
const MAX_SERVICE: usize = 256 * 1024;
/// Deepest chain of includes.
const DEEPEST: usize = 8;
/// How our module is called in such a file.
const MODULE: &str = "pam_countersign";

/// The services whose stack has our module, itself or by an include, and for which stages; `None` when the folder
/// cannot be read.
pub(super) fn asking(folder: &Path) -> Option<Vec<Asking>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).ok()? {
        let Some(name) = entry.ok().and_then(|entry| entry.file_name().into_string().ok()) else { continue };
        if let Ok(bytes) = read_bytes(&folder.join(&name), Owner::own(), Links::Followed, MAX_SERVICE) {
            files.insert(name, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Some(among(&files))
}

fn among(files: &BTreeMap<String, String>) -> Vec<Asking> {
    let asking = files.keys().map(|name| Asking {
        service: name.clone(),
        stages: [Stage::Auth, Stage::Session]
            .into_iter()
            .filter(|stage| asks(files, name, stage_name(*stage), 0))
            .collect(),
    });
    asking.filter(|one| !one.stages.is_empty()).collect()
}

/// `kind` is the first word of a line; a dash before it says that the module may be missing.
fn asks(files: &BTreeMap<String, String>, name: &str, kind: &str, depth: usize) -> bool {
    let Some(text) = files.get(name).filter(|_| depth < DEEPEST) else { return false };
    lines(text).any(|words| match words.as_slice() {
        ["@include", other, ..] => asks(files, other, kind, depth + 1),
        [first, ..] if !first.trim_start_matches('-').eq_ignore_ascii_case(kind) => false,
        [_, "include" | "substack", other, ..] => asks(files, other, kind, depth + 1),
        [_, rest @ ..] => rest.iter().any(|word| word.contains(MODULE)),
        [] => false,
    })
}

/// The words of each line that is none of comment; a line may go on on the next one.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.split("\n").map(|line| line.split('#').next().unwrap_or_default().split_ascii_whitespace().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_asks_by_itself_or_by_what_it_includes() {
        let files: BTreeMap<String, String> = [
            ("sudo", "auth required pam_countersign.so"),
            ("common", "-auth [success=1 default=ignore] /lib/security/pam_countersign.so # last"),
            ("gate", "session required pam_countersign.so"),
            ("login", "@include common\nsession include gate"),
            ("su", "auth substack common\nauth include gate"),
            ("sshd", "# auth required pam_countersign.so\nauth required pam_unix.so"),
            ("round", "@include round"),
        ]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into();
        let (auth, session) = (Stage::Auth, Stage::Session);
        let asking: Vec<(String, Vec<Stage>)> =
            among(&files).into_iter().map(|one| (one.service, one.stages)).collect();
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
