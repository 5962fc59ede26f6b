//! The worked examples of docs/policy.md: each policy is checked, and each answer is the one that is printed there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A block of the document: what kind it is, and what stands in it.
fn blocks(text: &str) -> Vec<(&str, String)> {
    let (mut blocks, mut open): (Vec<(&str, String)>, bool) = (Vec::new(), false);
    for line in text.lines() {
        match (line.strip_prefix("```"), open) {
            (Some(_), true) => open = false,
            (Some(kind), false) => {
                blocks.push((kind, String::new()));
                open = true;
            }
            (None, true) => {
                let (_, block) = blocks.last_mut().unwrap();
                block.push_str(line);
                block.push('\n');
            }
            (None, false) => {}
        }
    }
    blocks
}

/// Words as a shell would make them of a line with double quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_example_answers_as_it_says() {
    let document =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.md")).unwrap();
    let examples = document.split_once("\n## Examples\n").unwrap().1;
    let dir = tempfile::tempdir().unwrap();
    let (config, pam) = (dir.path().join("countersign.toml"), dir.path().join("pam.d"));
    fs::create_dir(&pam).unwrap();
    fs::write(pam.join("sshd"), "auth required pam_countersign.so\n").unwrap();
    let (mut policies, mut answers) = (0, 0);
    for (kind, block) in blocks(examples) {
        if kind == "toml" {
            fs::write(&config, block).unwrap();
            fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
            policies += 1;
            continue;
        }
        assert_eq!(kind, "console");
        let (line, expected) = block.split_once('\n').unwrap();
        let mut arguments = words(line.strip_prefix("$ countersign ").unwrap());
        if arguments.iter().any(|word| word == "check") {
            // Not those of the machine that the test runs on.
            arguments.extend(["--pam".to_owned(), pam.to_string_lossy().into_owned()]);
        }
        let ran = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(&arguments)
            .arg("--config")
            .arg(&config)
            .env("TZ", "UTC")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{line}");
        let printed = String::from_utf8(ran.stdout).unwrap();
        assert_eq!(printed, expected, "{line}");
        answers += 1;
    }
    assert_eq!((policies, answers >= policies), (12, true));
}
