//! The same stacks through the real libpam and through this crate: they have to come to the same.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use countersign_pam_stack::{Code, Folders, Handler, Setcred, Stack, Stage};

/// Stacks of each kind that are tried.
const TRIES: usize = 700;
const FILES: [&str; 4] = ["lab", "a", "b", "other"];

/// Xorshift: the same stacks each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }

    fn of<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// Mostly the values that modules return in earnest.
    fn code(&mut self) -> &'static str {
        const USUAL: [&str; 5] = ["success", "auth_err", "ignore", "user_unknown", "new_authtok_reqd"];
        if self.one_in(4) {
            // The last one, incomplete, would be asked again.
            return Code::all().nth(self.below(Code::COUNT - 1)).unwrap().name();
        }
        self.of(&USUAL)
    }

    fn control(&mut self) -> String {
        if self.one_in(2) {
            return self.of(&["required", "requisite", "sufficient", "optional", "Required"]).to_owned();
        }
        let mut text = "[".to_owned();
        for _ in 0..=self.below(3) {
            let code = if self.one_in(3) { "default" } else { self.code() };
            let action = match self.below(3) {
                0 => (1 + self.below(3)).to_string(),
                _ => self.of(&["ok", "ignore", "done", "bad", "die", "reset"]).to_owned(),
            };
            write!(text, "{code}={action}{}", self.of(&[" ", "  ", ""])).unwrap();
        }
        text + "]"
    }

    fn module(&mut self) -> String {
        match self.below(8) {
            0 => "pam_permit.so".to_owned(),
            1 => "pam_deny.so".to_owned(),
            2 => "pam_is_not_there.so".to_owned(),
            _ => format!(
                "pam_debug.so auth={} cred={} acct={} [open_session={}] close_session={}",
                self.code(),
                self.code(),
                self.code(),
                self.code(),
                self.code()
            ),
        }
    }

    fn line(&mut self, deeper: &[&str]) -> String {
        let stage = self.of(&["auth", "-auth", "AUTH", "account", "session", "auth"]);
        match self.below(12) {
            0 if !deeper.is_empty() => format!("@include HERE/{}", self.of(deeper)),
            1 if !deeper.is_empty() => format!("{stage} include HERE/{}", self.of(deeper)),
            2 | 3 if !deeper.is_empty() => format!("{stage} substack HERE/{}", self.of(deeper)),
            4 if self.one_in(6) => self
                .of(&[
                    "auth",
                    "oauth required pam_permit.so",
                    "auth required",
                    "auth [success=] pam_permit.so",
                ])
                .to_owned(),
            5 if self.one_in(3) => format!("{stage} {} \\\n # a comment\n {}", self.control(), self.module()),
            6 if self.one_in(3) => format!("{stage} {} {} # a comment \\", self.control(), self.module()),
            _ => format!("{stage} {} {}", self.control(), self.module()),
        }
    }

    fn file(&mut self, deeper: &[&str]) -> String {
        (0..self.below(8)).map(|_| self.line(deeper) + "\n").collect()
    }
}

fn driver(folder: &Path) -> PathBuf {
    let target = folder.join("driver");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/driver.c");
    let status = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-rdynamic", "-o"])
        .args([&target, &source])
        .arg("-lpam")
        .status()
        .expect("the C compiler runs (apt install gcc libpam0g-dev)");
    assert!(status.success(), "the driver compiles (apt install libpam0g-dev)");
    target
}

/// What libpam answers for each folder: auth, setcred, account, open, close.
fn asked(driver: &Path, folders: &[PathBuf]) -> Vec<Vec<i32>> {
    let mut child = Command::new(driver).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let list: String = folders.iter().map(|folder| format!("{}\n", folder.display())).collect();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(list.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split(' ').map(|code| code.parse().unwrap()).collect()).collect()
}

/// What a module of the stacks here returns.
fn returns(handler: &Handler, call: &str) -> Code {
    let module = handler.module().unwrap();
    let name = match module.name() {
        _ if module.module.starts_with("/nowhere") => "module_unknown",
        "pam_permit" => "success",
        "pam_deny" => match call {
            "auth" => "auth_err",
            "acct" => "auth_err",
            "cred" => "cred_err",
            _ => "session_err",
        },
        "pam_debug" => {
            let start = format!("{call}=");
            module.args.iter().find_map(|arg| arg.strip_prefix(start.as_str())).unwrap_or("success")
        }
        _ => "module_unknown",
    };
    Code::all().find(|code| code.name() == name).unwrap()
}

fn simulated(folder: &Path) -> Vec<i32> {
    let folders = Folders::of([folder]);
    let mut results = Vec::new();
    for (stage, first, second) in [
        (Stage::Auth, "auth", Some("cred")),
        (Stage::Account, "acct", None),
        (Stage::Session, "open_session", Some("close_session")),
    ] {
        let stack = Stack::of(&folders, "lab", stage);
        let run = stack.run(|_, handler| returns(handler, first));
        results.push(run.result.number());
        if let Some(second) = second {
            let again = Setcred { first: &run.returned, jumps_count: false };
            results.push(stack.run_again(again, |_, handler| returns(handler, second)).result.number());
        }
    }
    results
}

fn compare(stacks: Vec<Vec<(&str, String)>>) {
    let lab = tempfile::tempdir().unwrap();
    let driver = driver(lab.path());
    let mut folders = Vec::new();
    for (index, files) in stacks.iter().enumerate() {
        let folder = lab.path().join(index.to_string());
        std::fs::create_dir(&folder).unwrap();
        for (name, text) in files {
            // Included by path: Debian's libpam looks for names in /etc/pam.d, whatever folder it was told.
            let text = text.replace("HERE", folder.to_str().unwrap());
            std::fs::write(folder.join(name), text).unwrap();
        }
        folders.push(folder);
    }
    let answers = asked(&driver, &folders);
    assert_eq!(answers.len(), stacks.len());
    let mut granted = 0;
    let mut wrong = String::new();
    for ((folder, files), answer) in folders.iter().zip(&stacks).zip(&answers) {
        granted += usize::from(answer[0] == 0);
        let said = simulated(folder);
        if said != *answer {
            writeln!(wrong, "libpam {answer:?}, here {said:?}:").unwrap();
            for (name, text) in files {
                write!(wrong, "--- {name}\n{text}").unwrap();
            }
            break;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    // Stacks that all refuse, or all grant, would show nothing.
    if stacks.len() > 100 {
        assert!(granted > stacks.len() / 40 && granted < stacks.len() / 2, "{granted} of {}", stacks.len());
    }
}

#[test]
fn stacks_of_one_file() {
    let mut dice = Dice(0x5eed);
    compare((0..TRIES).map(|_| vec![("lab", dice.file(&[])), ("other", dice.file(&[]))]).collect());
}

#[test]
fn stacks_of_several_files() {
    let mut dice = Dice(0xc0ffee);
    let stacks = (0..TRIES).map(|_| {
        FILES
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let deeper: &[&str] = match index {
                    0 => &["a", "b", "missing"],
                    1 => &["b"],
                    _ => &[],
                };
                (*name, dice.file(deeper))
            })
            .collect()
    });
    compare(stacks.collect());
}

#[test]
fn edges() {
    let permit = "auth required pam_permit.so\n".to_owned();
    let other = || ("other", permit.clone());
    let after_backslash = [" \n", "\t\n", "\u{b}\n", " #\n", "\n#\n", "\n \n"].map(|end| {
        vec![("lab", format!("auth required pam_permit.so \\{end}auth required pam_deny.so\n")), other()]
    });
    compare(after_backslash.into());
    compare(vec![
        // libpam itself falls over files that include themselves; a substack ends at its limit.
        vec![("lab", "auth required pam_permit.so\nauth substack HERE/lab\n".to_owned()), other()],
        // The same, deep but not too deep.
        vec![("lab", "@include HERE/missing\nauth required pam_permit.so\n".to_owned()), other()],
        vec![("lab", "auth required pam_permit.so\nauth include HERE/missing\n".to_owned()), other()],
        vec![("lab", "auth required pam_permit.so\nauth optional pam_permit.so \\".to_owned()), other()],
        vec![("lab", "auth required pam_permit.so \\\n".to_owned()), other()],
        vec![("lab", "auth required pam_permit.so \\\n\n\nauth required pam_deny.so\n".to_owned()), other()],
        vec![("lab", String::new()), other()],
        vec![other()],
        vec![("lab", permit.clone())],
        vec![],
        vec![("lab", permit.clone()), ("other", "auth required pam_permit.so \\".to_owned())],
        vec![("lab", "\u{b}auth required pam_permit.so\n".to_owned()), other()],
        vec![("lab", "auth\u{b}required pam_permit.so\n".to_owned()), other()],
        vec![("lab", "auth required pam_permit.so\r\n".to_owned()), other()],
        vec![("lab", "auth required pam_permit.so \\\r\nauth required pam_deny.so".to_owned()), other()],
        vec![("lab", "[auth] [required] [pam_permit.so]\n".to_owned()), other()],
        vec![("lab", "auth [success=ok default=bad pam_permit.so\n".to_owned()), other()],
        vec![
            (
                "lab",
                "auth [success=99999999999 default=bad] pam_permit.so\nauth required pam_permit.so"
                    .to_owned(),
            ),
            other(),
        ],
        vec![("lab", "@INCLUDE HERE/a\n".to_owned()), ("a", permit.clone()), other()],
        vec![("lab", "-@include HERE/a\n".to_owned()), ("a", permit.clone()), other()],
        vec![
            ("lab", "auth include HERE/a\n".to_owned()),
            ("a", "@include HERE/b\n".to_owned()),
            ("b", permit.clone() + "account required pam_deny.so\n"),
            other(),
        ],
        vec![
            ("lab", "auth include HERE/a\n".to_owned()),
            ("a", "@include HERE/missing\n".to_owned()),
            other(),
        ],
        vec![("lab", "auth include HERE/a\n".to_owned()), ("a", "nonsense\n".to_owned()), other()],
        vec![
            ("lab", "account include HERE/a\n".to_owned() + &permit),
            ("a", "nonsense\n".to_owned()),
            other(),
        ],
        vec![
            ("lab", "@include HERE/a\n".to_owned()),
            ("a", "auth required pam_permit.so \\".to_owned()),
            other(),
        ],
        vec![
            ("lab", "auth include HERE/a\n".to_owned()),
            ("a", "auth required pam_permit.so \\".to_owned()),
            other(),
        ],
        vec![
            ("lab", "account include HERE/a\n".to_owned() + &permit),
            ("a", "auth required pam_permit.so \\".to_owned()),
            other(),
        ],
        vec![("lab", "auth requisite pam_permit.so # x [\n".to_owned()), other()],
        vec![("lab", "auth required /nowhere/pam_permit.so\n".to_owned()), other()],
        vec![("lab", "-auth optional /nowhere/pam_permit.so\n".to_owned() + &permit), other()],
    ]);
}

#[test]
fn deep_chains_of_includes() {
    let chain = |depth: usize, word: &'static str| {
        let mut files = vec![("lab", format!("{word} HERE/f1\n"))];
        const NAMES: [&str; 18] = [
            "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13", "f14",
            "f15", "f16", "f17",
        ];
        for (index, name) in NAMES.iter().enumerate().take(depth).skip(1) {
            files.push((name, format!("{word} HERE/f{}\nauth optional pam_permit.so\n", index + 1)));
        }
        files.push((NAMES[depth], "auth required pam_permit.so\n".to_owned()));
        files
    };
    compare(
        // Linux-PAM 1.5 counts substacks only, later ones every include.
        [("@include", 16), ("auth include", 16), ("auth substack", 18)]
            .into_iter()
            .flat_map(|(word, end)| (13..end).map(move |depth| chain(depth, word)))
            .collect(),
    );
}
