//! The configuration's file.

use super::read::read_all;
use super::{Config, Fault, MAX_CONFIG};
use countersign_files::{FileFault, Owner, list_trusted, read_trusted};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Most entries in the folder of further files.
const MAX_DROP_INS: usize = 200;

/// The policy in force, and what is wrong with the file that was read last.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The last one without faults.
    pub good: Option<Rc<Config>>,
    /// Faults of the file as it was read last, `path:line:column: text`; none when `good` is it.
    pub faults: Vec<String>,
}

/// What is wrong with a file, for the two places where it is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// One line each, for the log and for `countersign status`.
    pub lines: Vec<String>,
    /// With the line and a caret, for a person at a terminal.
    pub drawings: Vec<String>,
}

impl Faults {
    fn add(&mut self, fault: &Fault, name: &str, source: &str) {
        self.lines.push(fault.line(name, source));
        self.drawings.push(fault.drawing(name, source));
    }
}

impl Loaded {
    /// Reads the file; a faulty one leaves the good policy in force.
    ///
    /// # Errors
    /// Its faults.
    pub fn reload(&mut self, path: &Path, owner: Owner) -> Result<Rc<Config>, Faults> {
        match load(path, owner) {
            Ok(config) => {
                let config = Rc::new(config);
                *self = Self { good: Some(Rc::clone(&config)), faults: Vec::new() };
                Ok(config)
            }
            Err(faults) => {
                self.faults.clone_from(&faults.lines);
                Err(faults)
            }
        }
    }

    /// Whether the files have come to mean something else since they were read last, or have other faults.
    #[must_use]
    pub fn has_changed(&self, path: &Path, owner: Owner) -> bool {
        match load(path, owner) {
            Ok(config) => self.good.as_deref() != Some(&config),
            Err(faults) => faults.lines != self.faults,
        }
    }
}

/// Reads a configuration: the file, and before it what is in the folder of the same name and `.d`, in the
/// order of the names. All has to be root's or `owner`'s and nobody else's to write.
///
/// # Errors
/// All its faults.
pub fn load(path: &Path, owner: Owner) -> Result<Config, Faults> {
    load_as(path, None, owner)
}

/// The same, as if the file held this text: to see what would come of a change before it is made.
///
/// # Errors
/// All its faults.
pub fn load_with(path: &Path, text: &str, owner: Owner) -> Result<Config, Faults> {
    load_as(path, Some(text), owner)
}

fn load_as(main: &Path, text: Option<&str>, owner: Owner) -> Result<Config, Faults> {
    let mut faults = Faults::default();
    let mut files = Vec::new();
    let mut paths = drop_ins(main, owner).unwrap_or_else(|(folder, why)| {
        faults.add(&Fault::whole(why), &folder, "");
        Vec::new()
    });
    paths.push(main.to_path_buf());
    for path in paths {
        let name = path.to_string_lossy().into_owned();
        let source = match text {
            Some(text) if path == main => Ok(text.to_owned()),
            _ => read_trusted(&path, owner, MAX_CONFIG),
        };
        match source {
            Ok(source) => files.push((name, source)),
            Err(fault) => faults.add(&Fault::whole(fault.to_string()), &name, ""),
        }
    }
    let read: Vec<(&str, &str)> =
        files.iter().map(|(name, source)| (name.as_str(), source.as_str())).collect();
    let unread = !faults.lines.is_empty();
    match read_all(&read) {
        Ok(config) if !unread => return Ok(config),
        Ok(_) => {}
        Err(more) => {
            // What is missing may stand in a file that could not be read.
            for (number, fault) in more.into_iter().filter(|(_, fault)| !unread || fault.span.is_some()) {
                let (name, source) = read.get(number).copied().unwrap_or_default();
                faults.add(&fault, name, source);
            }
        }
    }
    Err(faults)
}

/// The files of the folder beside the configuration, where there is one.
fn drop_ins(path: &Path, owner: Owner) -> Result<Vec<PathBuf>, (String, String)> {
    let mut folder = path.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    let fault = |why: String| (folder.to_string_lossy().into_owned(), why);
    let mut paths = Vec::new();
    let entries = match list_trusted(&folder, owner, MAX_DROP_INS) {
        Ok(entries) => entries,
        Err(FileFault::Missing) => return Ok(paths),
        Err(other) => return Err(fault(other.to_string())),
    };
    for name in entries {
        // Others are what editors and package managers leave behind.
        if !name.starts_with('.') && name.ends_with(".toml") {
            paths.push(folder.join(name));
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_written_since_is_a_change_until_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("countersign.toml");
        let owner = Owner::own();
        let mut loaded = Loaded::default();
        let text = "server = \"https://a.example\"\n";
        for text in [text.to_owned(), format!("{text}[default]\nwait = \"30s\"\n"), "thn = 1\n".to_owned()] {
            fs::write(&path, &text).unwrap();
            assert!(loaded.has_changed(&path, owner), "{text}");
            let _ = loaded.reload(&path, owner);
            assert!(!loaded.has_changed(&path, owner), "{text}");
            // What means the same is no change.
            fs::write(&path, format!("{text}\n")).unwrap();
            assert!(!loaded.has_changed(&path, owner), "{text}");
        }
        fs::write(dir.path().join("countersign.toml.d"), "").unwrap();
        assert!(loaded.has_changed(&path, owner));
    }

    #[test]
    fn the_folder_beside_comes_first_in_the_order_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("countersign.toml");
        let folder = dir.path().join("countersign.toml.d");
        let rule = |name: &str| format!("[[rule]]\nname = \"{name}\"\nthen = \"deny\"\n");
        let owner = Owner::own();
        fs::write(&path, format!("server = \"https://a.example\"\n{}", rule("last"))).unwrap();
        assert_eq!(load(&path, owner).unwrap().rules.len(), 1);

        fs::create_dir(&folder).unwrap();
        for name in ["20-b.toml", "10-a.toml", "30-c.toml.dpkg-old", ".40-d.toml", "README"] {
            fs::write(folder.join(name), rule(name)).unwrap();
        }
        let names: Vec<String> =
            load(&path, owner).unwrap().rules.into_iter().map(|rule| rule.name).collect();
        assert_eq!(names, ["10-a.toml", "20-b.toml", "last"]);

        fs::set_permissions(folder.join("10-a.toml"), fs::Permissions::from_mode(0o666)).unwrap();
        fs::write(folder.join("20-b.toml"), "thn = 1\n").unwrap();
        let faults = load(&path, owner).unwrap_err().lines;
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("10-a.toml: its mode 0666"), "{faults:?}");
        assert!(faults[1].contains("20-b.toml:1:1: \"thn\" is no key"), "{faults:?}");

        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let faults = load(&path, owner).unwrap_err().lines;
        assert!(faults[0].contains("countersign.toml.d: its mode 0777"), "{faults:?}");
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "").unwrap();
        assert!(load(&path, owner).unwrap_err().lines[0].ends_with("it is not a folder"));
        fs::remove_file(&folder).unwrap();
        std::os::unix::fs::symlink("/", &folder).unwrap();
        assert!(load(&path, owner).unwrap_err().lines[0].contains("symbolic link"));
    }
}
