//! The completions that the packages install, in the shells themselves.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn printed(shell: &str) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_countersign")).args(["completions", shell]).output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    String::from_utf8(out.stdout).unwrap()
}

/// Runs a shell on a script that it reads from standard input; nothing where there is no such shell.
fn run(shell: &str, options: &[&str], script: &str) -> Option<Output> {
    let spawned = Command::new(shell)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && std::env::var_os("CI").is_none() => {
            eprintln!("skipped: there is no {shell} here");
            return None;
        }
        Err(e) => panic!("{shell}: {e}"),
    };
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

/// What bash offers for the words of a line, the last of which is being typed.
fn bash(words: &[&str]) -> Vec<String> {
    let line: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        "set -u\n{}\nCOMP_WORDS=({}); COMP_CWORD={}\n\
         \"$(complete -p countersign | grep -oE '_countersign')\" countersign \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        printed("bash"),
        line.join(" "),
        words.len() - 1,
    );
    let out = run("bash", &["--norc", "-s"], &script).expect("bash is there");
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(bash(&["countersign", "aud"]), ["audit"]);
    assert_eq!(bash(&["countersign", "audit", "ver"]), ["verify"]);
    assert_eq!(bash(&["countersign", "codes", "alice", "--rec"]), ["--recovery"]);
    let commands = bash(&["countersign", ""]);
    for command in ["pair", "join", "status", "--json"] {
        assert!(commands.iter().any(|word| word == command), "{command}: {commands:?}");
    }
}

#[test]
fn what_is_hidden_is_not_offered() {
    for shell in ["bash", "zsh", "fish"] {
        let text = printed(shell);
        for hidden in ["auto-approve", "auto-deny", "completions bash", "completions)", "polkit-asks"] {
            assert!(!text.contains(hidden), "{shell}: {hidden}");
        }
    }
    assert!(!bash(&["countersign", ""]).contains(&"completions".to_owned()));
}

#[test]
fn zsh_and_fish_accept_theirs() {
    for shell in ["zsh", "fish"] {
        if let Some(out) = run(shell, &["-n"], &printed(shell)) {
            assert!(out.status.success() && out.stderr.is_empty(), "{shell}: {out:?}");
        }
    }
    let script = format!("{}\ncomplete --do-complete 'countersign aud'\n", printed("fish"));
    if let Some(out) = run("fish", &["--no-config"], &script) {
        assert!(String::from_utf8_lossy(&out.stdout).starts_with("audit\t"), "{out:?}");
    }
}
