//! Where `Match` stands in sshd's files, through all that they include.

use std::path::{Component, Path, PathBuf};

use countersign_files::{Links, Owner, read_bytes};

/// Where sshd takes names from that do not begin with /.
const FOLDER: &str = "/etc/ssh";
/// Longest file.
const MAX_FILE: usize = 256 * 1024;
/// Most files.
const MAX_FILES: usize = 256;
/// How deep they may include each other; sshd's own limit.
const MAX_DEPTH: usize = 16;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// The place of each `Match` that somebody has to meet, and its line.
    pub(super) blocks: Vec<(String, String)>,
    /// Places of what was not followed.
    pub(super) not_read: Vec<String>,
    files: usize,
}

/// Goes through a file, and through those that it includes.
pub(super) fn read(file: &Path) -> Written {
    let mut written = Written::default();
    go(file, 0, &mut written);
    written
}

fn go(file: &Path, depth: usize, written: &mut Written) {
    written.files += 1;
    let bytes = match read_bytes(file, Owner::own(), Links::Followed, MAX_FILE) {
        Ok(bytes) if depth <= MAX_DEPTH && written.files <= MAX_FILES => bytes,
        Ok(_) => return written.not_read.push(file.display().to_string()),
        Err(_) if !file.exists() => return,
        Err(_) => return written.not_read.push(file.display().to_string()),
    };
    let mut within = false;
    for (index, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
        let place = || format!("{}:{}", file.display(), index + 1);
        let mut words = line
            .split(|c: char| c.is_ascii_whitespace() || c == '=')
            .map(|word| word.trim_matches('"'))
            .filter(|word| !word.is_empty());
        let Some(keyword) = words.next() else { continue };
        if keyword.eq_ignore_ascii_case("match") {
            // `Match all` ends a block.
            within = !words.next().is_some_and(|word| word.eq_ignore_ascii_case("all"));
            if within {
                written.blocks.push((place(), line.to_owned()));
            }
        } else if keyword.eq_ignore_ascii_case("include") {
            for pattern in words.take_while(|word| !word.starts_with('#')) {
                let before = written.blocks.len();
                match files(pattern) {
                    Some(files) => files.iter().for_each(|file| go(file, depth + 1, written)),
                    None => written.not_read.push(place()),
                }
                // Both conditions would have to be met: nobody tries that.
                if within && written.blocks.len() > before {
                    written.blocks.truncate(before);
                    written.not_read.push(place());
                }
            }
        }
    }
}

/// The files of a pattern, in sshd's order; nothing where it is written in a way that is not known here.
fn files(pattern: &str) -> Option<Vec<PathBuf>> {
    if pattern.contains(['[', ']', '\\', '{', '~', '%']) {
        return None;
    }
    let mut paths = vec![PathBuf::new()];
    for part in Path::new(FOLDER).join(pattern).components() {
        let Component::Normal(name) = part else {
            paths.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let name = name.to_str()?;
        if !name.contains(['*', '?']) {
            paths.iter_mut().for_each(|path| path.push(name));
            continue;
        }
        let entries =
            paths.iter().filter_map(|path| std::fs::read_dir(path).ok()).flatten().filter_map(Result::ok);
        paths = entries
            .filter(|entry| {
                let own = entry.file_name();
                let own = own.to_string_lossy();
                own.starts_with('.') == name.starts_with('.') && is_like(name.as_bytes(), own.as_bytes())
            })
            .map(|entry| entry.path())
            .take(MAX_FILES + 1)
            .collect();
        paths.sort();
    }
    paths.retain(|path| path.is_file());
    Some(paths)
}

fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => {
            (0..=name.len()).any(|at| name.get(at..).is_some_and(|name| is_like(rest, name)))
        }
        Some((b'?', rest)) => name.split_first().is_some_and(|(_, name)| is_like(rest, name)),
        Some((one, rest)) => {
            name.split_first().is_some_and(|(first, name)| first == one && is_like(rest, name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_is_found_wherever_it_is_included_from() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, text: String| {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), text).unwrap();
        };
        let root = folder.path().display().to_string();
        write("more/b.conf", "Match User bob\n".into());
        write("more/a.conf", "match=Address 10.0.0.1\nMatch all\n".into());
        write("more/not", "Match User nobody\n".into());
        write("sub/deep/c.conf", format!("Include {root}/sub/deep/c.conf\n"));
        write(
            "main",
            format!(
                "include \"{root}/more/*.conf\" # all\nInclude={root}/[x].conf\nMatch Group ops\nInclude {root}/more/b.c?nf\n"
            ),
        );
        let written = read(&at("main"));
        let blocks: Vec<&str> = written.blocks.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(blocks, ["match=Address 10.0.0.1", "Match User bob", "Match Group ops"]);
        assert_eq!(written.blocks[1].0, format!("{root}/more/b.conf:1"));
        assert_eq!(written.not_read, [format!("{root}/main:2"), format!("{root}/main:4")]);
        assert_eq!(read(&at("sub/deep/c.conf")).not_read, [format!("{root}/sub/deep/c.conf")], "a ring ends");
        assert_eq!(read(&at("none")), Written { files: 1, ..Written::default() });
    }
}
