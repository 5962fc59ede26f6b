//! The lines of the configuration that name the server. Written where there are none; never changed.

use crate::output::{Exit, Failure, Outcome};
use countersign_files::{FileFault, Links, Owner, beside, read_trusted, read_whosever, replace_kept};
use countersign_policy::{Config, MAX_CONFIG, load, load_with, read};
use countersign_protocol::text::escape;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What the packages install as an example; its head says what the file is for.
const EXAMPLE: &str = include_str!("../../../../policy/countersign.example.toml");
/// The example's line for the server, and what stands below its head.
const EXAMPLE_SERVER: &str = "server = \"https://push.example.com\"\n";
const BELOW_HEAD: &str = "\n# What happens to every login";
/// What a new file ends with.
const MORE: &str = "\n# What happens to logins, and rules for some of them: man countersign.toml, or the whole example in\n\
                    # /usr/share/doc/countersign/examples.\n";
/// Name of the copy of the server's certificates.
const CA_NAME: &str = "server-ca.pem";
/// Longest file of certificates.
const MAX_CA: usize = 64 * 1024;
/// Mode of what the administrator writes here: the daemon's user has to read it.
const MODE: u32 = 0o644;

/// What the configuration says by now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// The server, spelt as the daemon does.
    pub(crate) server: String,
    /// Whether a file was written.
    pub(crate) written: bool,
}

/// The server's address as the daemon spells it.
///
/// # Errors
/// When it is none.
pub(crate) fn address(url: &str) -> Outcome<String> {
    match read(&line("server", url)) {
        Ok(config) => Ok(config.server),
        Err(faults) => {
            let why = faults.first().map_or("it is no address", |fault| fault.text.as_str());
            Err(Failure::new(Exit::Usage, format!("the server's address: {}", escape(why))))
        }
    }
}

/// The configuration, where there is one that is taken; nothing where no file names a server yet.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn present(path: &Path) -> Outcome<Option<Config>> {
    match load(path, Owner::own()) {
        Ok(config) => Ok(Some(config)),
        // Whether that is all that is missing is seen when the line is there.
        Err(faults) => {
            match load_with(path, &with(&text(path)?, &[("server", "https://a.example")]), Owner::own()) {
                Ok(_) => Ok(None),
                Err(_) => Err(not_taken(&faults.drawings)),
            }
        }
    }
}

/// Sees to it that the configuration names this server.
///
/// # Errors
/// When it names another one, or is not taken as it is.
pub(crate) fn name_server(path: &Path, url: &str, ca: Option<&Path>) -> Outcome<Named> {
    let server = address(url)?;
    let found = present(path)?;
    let other = found.as_ref().map(|config| config.server.as_str()).filter(|named| *named != server);
    if let Some(other) = other {
        return Err(Failure::new(
            Exit::Refused,
            format!(
                "{} names another server: {}. To move this host, change that line to server = \"{server}\", \
                 then run this again with a token of the new server",
                path.display(),
                escape(other)
            ),
        ));
    }
    let ca = ca.map(|ca| certificates(path, ca)).transpose()?;
    let mut lines = Vec::new();
    if found.is_none() {
        lines.push(("server", server.as_str()));
    }
    if let Some(ca) = &ca {
        match found.as_ref().and_then(|config| config.server_ca.as_deref()) {
            None => lines.push(("server_ca", ca.as_str())),
            Some(named) if named == Path::new(ca) => {}
            Some(named) => {
                let text = format!(
                    "{} names other certificates for the server: server_ca = \"{}\"; change that line, or leave \
                     --server-ca out",
                    path.display(),
                    named.display()
                );
                return Err(Failure::new(Exit::Refused, text));
            }
        }
    }
    if lines.is_empty() {
        return Ok(Named { server, written: false });
    }
    let new = with(&text(path)?, &lines);
    load_with(path, &new, Owner::own()).map_err(|faults| not_taken(&faults.drawings))?;
    write(path, new.as_bytes())?;
    Ok(Named { server, written: true })
}

/// Puts another server into the line that [`name_server`] has written.
///
/// # Errors
/// When the file does not have that line once, or is not taken with the other one.
pub(crate) fn change_server(path: &Path, old: &str, new: &str) -> Outcome<String> {
    let new = address(new)?;
    let text = text(path)?;
    let (old, line) = (line("server", old), line("server", &new));
    if text.split_inclusive('\n').filter(|line| **line == old).count() != 1 {
        let text = format!("{} does not have the line {}: change it there", path.display(), old.trim_end());
        return Err(Failure::new(Exit::Refused, escape(&text)));
    }
    let lines = text.split_inclusive('\n').map(|one| if one == old { line.as_str() } else { one });
    let changed: String = lines.collect();
    load_with(path, &changed, Owner::own()).map_err(|faults| not_taken(&faults.drawings))?;
    write(path, changed.as_bytes())?;
    Ok(new)
}

fn not_taken(drawings: &[String]) -> Failure {
    let text = drawings.join("\n");
    Failure::new(
        Exit::Broken,
        format!("the configuration has a fault; correct it, then run this again\n{text}"),
    )
}

/// What the file holds; where there is none, the head of the example without a server.
fn text(path: &Path) -> Outcome<String> {
    match read_trusted(path, Owner::own(), MAX_CONFIG) {
        Ok(text) => Ok(text),
        Err(FileFault::Missing) => Ok(head()),
        Err(fault) => Err(Failure::broken(path.display(), fault)),
    }
}

fn head() -> String {
    let head = EXAMPLE.split(BELOW_HEAD).next().unwrap_or_default();
    head.replace(EXAMPLE_SERVER, "") + MORE
}

/// The text with these lines before the first one that is neither empty nor a comment, in whose place a new
/// file of the example's has them.
fn with(text: &str, lines: &[(&str, &str)]) -> String {
    let new: String = lines.iter().map(|(key, value)| line(key, value)).collect();
    let comment = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let at = match place_in_head(text) {
        Some(at) => at,
        None => text.split_inclusive('\n').take_while(|line| comment(line)).map(str::len).sum(),
    };
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    format!("{before}{end}{new}{after}")
}

/// Below the example's comment about the server, where the text has it.
fn place_in_head(text: &str) -> Option<usize> {
    let about = EXAMPLE.split(EXAMPLE_SERVER).next()?;
    text.starts_with(about).then_some(about.len())
}

fn line(key: &str, value: &str) -> String {
    // A string of TOML is one of JSON.
    format!("{key} = {}\n", serde_json::Value::from(value))
}

fn write(path: &Path, bytes: &[u8]) -> Outcome {
    let broken = |e: std::io::Error| Failure::broken(path.display(), e);
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        DirBuilder::new().mode(0o700).create(folder).map_err(broken)?;
        // Whatever the shell's umask: the daemon's user has to get in.
        std::fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(broken)?;
    }
    replace_kept(path, bytes, MODE).map_err(broken)
}

/// Puts a copy of the certificates beside the configuration, where the daemon's user can read it; gives its path.
fn certificates(config: &Path, given: &Path) -> Outcome<String> {
    let broken = |path: &Path, why: &dyn std::fmt::Display| Failure::broken(path.display(), why);
    let bytes = read_whosever(given, Links::Followed, MAX_CA).map_err(|e| broken(given, &e))?;
    if !bytes.windows(BEGIN.len()).any(|part| part == BEGIN) {
        return Err(Failure::new(Exit::Usage, format!("{}: it holds no certificate (PEM)", given.display())));
    }
    if bytes.windows(PRIVATE.len()).any(|part| part == PRIVATE) {
        let text = format!(
            "{}: it holds a private key, and everybody on this host can read the copy; name a file of certificates alone",
            given.display()
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    let copy = copy_of(config);
    match read_trusted(&copy, Owner::own(), MAX_CA) {
        Ok(text) if text.as_bytes() == bytes => {}
        Err(FileFault::Missing) => write(&copy, &bytes)?,
        Err(fault) => return Err(broken(&copy, &fault)),
        Ok(_) => {
            let text = format!("{}: other certificates are there already; compare them", copy.display());
            return Err(Failure::new(Exit::Refused, text));
        }
    }
    copy.to_str().map(str::to_owned).ok_or_else(|| broken(&copy, &"its path is no text"))
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// What the label of a private key of any kind ends with.
const PRIVATE: &[u8] = b"PRIVATE KEY-----";

fn copy_of(config: &Path) -> PathBuf {
    config.parent().map_or_else(|| beside(config, ".ca"), |folder| folder.join(CA_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    const URL: &str = "https://push.example.com";

    fn named(text: Option<&str>, url: &str) -> (Outcome<Named>, Option<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("countersign.toml");
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        let done = name_server(&path, url, None);
        if let Ok(named) = &done {
            assert_eq!(load(&path, Owner::own()).unwrap().server, named.server);
        }
        (done, fs::read_to_string(&path).ok())
    }

    #[test]
    fn a_new_file_begins_as_the_example_does() {
        let (done, text) = named(None, "https://relay.example.org");
        let text = text.unwrap();
        assert_eq!(done.unwrap(), Named { server: "https://relay.example.org".into(), written: true });
        let expected =
            EXAMPLE.split(BELOW_HEAD).next().unwrap().replace("push.example.com", "relay.example.org");
        assert!(text.starts_with(&expected) && text.ends_with(MORE), "{text}");
        assert!(!text.contains("[default]") && text.len() < EXAMPLE.len() / 2, "{text}");
    }

    #[test]
    fn the_line_goes_before_the_first_key_and_all_else_stays() {
        for (before, after) in [
            ("", "server = \"https://push.example.com\"\n"),
            ("# mine", "# mine\nserver = \"https://push.example.com\"\n"),
            (
                "# mine\n\nhost_name = \"a\" # so\n[default]\nwait = \"30s\"",
                "# mine\n\nserver = \"https://push.example.com\"\nhost_name = \"a\" # so\n[default]\nwait = \"30s\"",
            ),
            ("[default]\n", "server = \"https://push.example.com\"\n[default]\n"),
        ] {
            let (done, text) = named(Some(before), "https://PUSH.example.com/");
            assert!(done.unwrap().written, "{before}");
            assert_eq!(text.as_deref(), Some(after));
            let (again, same) = named(text.as_deref(), URL);
            assert!(!again.unwrap().written);
            assert_eq!(same, text);
        }
    }

    #[test]
    fn another_server_and_a_faulty_file_are_left_as_they_are() {
        for (before, url, why) in [
            ("server = \"https://old.example\"\n", URL, "names another server: https://old.example."),
            ("server = \"ftp://x\"\n", URL, "has a fault"),
            ("wiat = 1\n", URL, "has a fault"),
            ("[default\n", URL, "has a fault"),
            ("", "http://push.example.com", "plain http is for this host only"),
            ("", "push.example.com", "is no address: one looks like https://push.example.com"),
            ("", "https://a.example/\"\n[x]", "the server's address"),
        ] {
            let (done, text) = named(Some(before), url);
            let told = done.unwrap_err().message;
            assert!(told.contains(why), "{before}: {told}");
            assert_eq!(text.as_deref(), Some(before));
        }
    }

    #[test]
    fn the_line_that_was_written_can_be_changed_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("countersign.toml");
        fs::write(&path, "# server = \"https://push.example.com\"\nhost_name = \"a\"\n").unwrap();
        assert!(name_server(&path, "https://psuh.example.com", None).unwrap().written);
        let before = fs::read_to_string(&path).unwrap();
        assert!(change_server(&path, "https://psuh.example.com", "push").is_err());
        assert!(
            change_server(&path, "https://other.example.com", URL)
                .unwrap_err()
                .message
                .contains("does not have")
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        assert_eq!(
            change_server(&path, "https://psuh.example.com", "https://PUSH.example.com/").unwrap(),
            URL
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), before.replace("psuh", "push"));
        assert_eq!(load(&path, Owner::own()).unwrap().server, URL);
    }

    #[test]
    fn a_new_folder_is_open_to_the_daemons_user() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("countersign");
        let named = name_server(&folder.join("countersign.toml"), URL, None);
        assert!(named.unwrap().written);
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o755);
        assert_eq!(fs::metadata(folder.join("countersign.toml")).unwrap().mode() & 0o777, 0o644);
    }

    #[test]
    fn certificates_are_copied_to_where_the_daemon_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let (path, given) = (dir.path().join("countersign.toml"), dir.path().join("mine.pem"));
        fs::write(&given, "no certificate").unwrap();
        assert!(name_server(&path, URL, Some(&given)).unwrap_err().message.contains("no certificate"));
        fs::write(&given, "-----BEGIN CERTIFICATE-----\n…").unwrap();
        fs::set_permissions(&given, Permissions::from_mode(0o600)).unwrap();
        assert!(name_server(&path, URL, Some(&given)).unwrap().written);
        let copy = dir.path().join(CA_NAME);
        assert_eq!(load(&path, Owner::own()).unwrap().server_ca.as_deref(), Some(copy.as_path()));
        assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o777, 0o644);
        assert!(!name_server(&path, URL, Some(&given)).unwrap().written);
        fs::write(&given, "-----BEGIN CERTIFICATE-----\nanother").unwrap();
        assert!(name_server(&path, URL, Some(&given)).unwrap_err().message.contains("already"));
    }

    #[test]
    fn a_private_key_beside_the_certificates_is_not_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (path, given) = (dir.path().join("countersign.toml"), dir.path().join("mine.pem"));
        for kind in ["", "RSA ", "EC ", "ENCRYPTED "] {
            let key = format!("-----BEGIN {kind}PRIVATE KEY-----\n…\n-----END {kind}PRIVATE KEY-----\n");
            fs::write(&given, format!("-----BEGIN CERTIFICATE-----\n…\n{key}")).unwrap();
            let told = name_server(&path, URL, Some(&given)).unwrap_err().message;
            assert!(told.contains("holds a private key"), "{told}");
            assert!(!dir.path().join(CA_NAME).exists() && !path.exists());
        }
    }

    #[test]
    fn a_server_that_a_file_beside_names_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("countersign.toml");
        fs::create_dir(dir.path().join("countersign.toml.d")).unwrap();
        fs::write(dir.path().join("countersign.toml.d/server.toml"), line("server", URL)).unwrap();
        fs::write(&path, "# mine\n").unwrap();
        assert!(!name_server(&path, URL, None).unwrap().written);
        assert!(
            name_server(&path, "https://b.example", None).unwrap_err().message.contains("another server")
        );
    }
}
