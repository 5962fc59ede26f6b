//! A private PAM configuration, a fake daemon on a Unix socket, and the driver that runs the built
//! module through the real libpam. Nothing of the machine's /etc is read or written.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use countersign_protocol::frame;
use countersign_protocol::login::{Begin, Call, Continue, Outcome, Step, Style, Verdict};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The module that cargo built for these tests, beside their own executable.
pub fn module() -> PathBuf {
    let path = std::env::current_exe().unwrap().with_file_name("libpam_countersign.so");
    assert!(path.is_file(), "{} is not there: run the tests through cargo", path.display());
    path
}

/// The driver, compiled once for each test executable.
pub fn driver() -> &'static Path {
    static DRIVER: OnceLock<PathBuf> = OnceLock::new();
    DRIVER.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/driver.c");
        let target = std::env::current_exe().unwrap().with_extension("driver");
        let status = Command::new("cc")
            .args(["-Wall", "-Wextra", "-Werror", "-rdynamic", "-o"])
            .args([&target, &source])
            .arg("-lpam")
            .status()
            .expect("the C compiler runs (apt install gcc libpam0g-dev)");
        assert!(status.success(), "the driver compiles (apt install libpam0g-dev)");
        target
    })
}

/// Whether this process is root. Where it is not, the driver runs in a user namespace that makes it so.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// What the fake daemon does with a call.
#[derive(Clone)]
pub enum Act {
    Reply(Step),
    Raw(Vec<u8>),
    /// No reply; waits until the module closes its end.
    Hang,
    /// Closes the connection at once.
    Close,
}

pub fn verdict(outcome: Outcome) -> Act {
    Act::Reply(Step::Verdict(Verdict { outcome, text: Some(format!("{outcome:?}!")), token: None }))
}

pub fn ask() -> Act {
    Act::Reply(Step::Ask { text: "Code: ".to_owned(), deadline_ms: 2000 })
}

pub fn say() -> Act {
    Act::Reply(Step::Say {
        style: Style::Info,
        text: "Look at your phone".to_owned(),
        deadline_ms: 2000,
        always: false,
    })
}

pub fn wait(deadline_ms: u64) -> Act {
    Act::Reply(Step::Wait { deadline_ms })
}

/// One test's directory with its PAM configuration and socket.
pub struct Lab {
    directory: TempDir,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// What the driver reported.
#[derive(Debug)]
pub struct Report {
    pub lines: Vec<String>,
    pub took: Duration,
}

impl Lab {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lab = Self { directory, calls: Arc::default() };
        fs::create_dir(lab.path("run")).unwrap();
        for path in [lab.path(""), lab.path("run")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        lab
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A copy of a file that everybody can get at, wherever the build directory is.
    pub fn readable(&self, file: &Path) -> PathBuf {
        let copy = self.path(file.file_name().unwrap().to_str().unwrap());
        fs::copy(file, &copy).unwrap();
        copy
    }

    pub fn socket(&self) -> PathBuf {
        self.path("run/pam.sock")
    }

    /// The module alone on each line of a service, with the lab's socket and more arguments.
    pub fn service(&self, name: &str, arguments: &str) {
        let module = module();
        let line = |stage: &str| {
            format!("{stage} required {} socket={} {arguments}\n", module.display(), self.socket().display())
        };
        let text: String = ["auth", "account", "session", "password"].map(line).concat();
        self.stack(name, &text);
    }

    /// A service with the given lines.
    pub fn stack(&self, name: &str, lines: &str) {
        let directory = self.path("pam.d");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), lines).unwrap();
        // libpam reads it, too, and complains if it is not there.
        fs::write(directory.join("other"), "").unwrap();
    }

    /// A daemon that goes through the same acts with each connection. Reports when a module left
    /// before its verdict.
    pub fn daemon(&self, acts: impl IntoIterator<Item = Act>) -> mpsc::Receiver<Instant> {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let (sender, receiver) = mpsc::channel();
        let (acts, calls): (Vec<_>, _) = (acts.into_iter().collect(), Arc::clone(&self.calls));
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&stream.unwrap(), &acts, &calls, &sender);
            }
        });
        receiver
    }

    /// The calls that the daemon got.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub fn begin(&self) -> Begin {
        match self.calls().first() {
            Some(Call::Begin(begin)) => begin.as_ref().clone(),
            other => panic!("no Begin, but {other:?}"),
        }
    }

    pub fn last_continue(&self) -> Continue {
        match self.calls().pop() {
            Some(Call::Continue(with)) => with,
            other => panic!("no Continue, but {other:?}"),
        }
    }

    /// The driver's command line, ready to be changed.
    pub fn command(&self, service: &str, user: impl AsRef<OsStr>, stages: &str, options: &[&str]) -> Command {
        let mut command = if is_root() {
            Command::new(driver())
        } else {
            let mut unshare = Command::new("unshare");
            unshare.args(["--user", "--map-root-user"]).arg(driver());
            unshare
        };
        command.arg(self.path("pam.d")).arg(service).arg(user).arg(stages).args(options);
        command
    }

    /// Runs the driver for user alice of service `lab`.
    pub fn run(&self, stages: &str, options: &[&str]) -> Report {
        report(self.command("lab", "alice", stages, options))
    }
}

/// Runs a prepared driver.
pub fn report(mut command: Command) -> Report {
    let started = Instant::now();
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    finished(&output.status, &output.stdout, &output.stderr, started)
}

/// Runs a prepared driver with the given standard input.
pub fn report_with_stdin(mut command: Command, stdin: Stdio) -> Report {
    let started = Instant::now();
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    finished(&output.status, &output.stdout, &output.stderr, started)
}

fn finished(status: &std::process::ExitStatus, stdout: &[u8], stderr: &[u8], started: Instant) -> Report {
    let took = started.elapsed();
    let stderr = String::from_utf8_lossy(stderr);
    assert!(status.success(), "the driver ended with {status}: {stderr}");
    assert_eq!(stderr, "", "the module printed");
    Report { lines: String::from_utf8_lossy(stdout).lines().map(str::to_owned).collect(), took }
}

impl Report {
    /// The results of a stage, in order.
    pub fn results(&self, stage: &str) -> Vec<i32> {
        self.with(&format!("result {stage} ")).iter().map(|code| code.parse().unwrap()).collect()
    }

    /// The one result of a stage.
    pub fn result(&self, stage: &str) -> i32 {
        match self.results(stage)[..] {
            [code] => code,
            _ => panic!("not one result of {stage}: {self:?}"),
        }
    }

    /// The rests of the lines that start so.
    pub fn with(&self, start: &str) -> Vec<&str> {
        self.lines.iter().filter_map(|line| line.strip_prefix(start)).collect()
    }

    /// The module's lines in the system log.
    pub fn logged(&self) -> String {
        self.with("log ").join("\n")
    }
}

fn serve(stream: &UnixStream, acts: &[Act], calls: &Mutex<Vec<Call>>, left: &mpsc::Sender<Instant>) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    for act in acts {
        let mut bytes = vec![];
        reader.read_until(frame::END, &mut bytes).unwrap();
        if bytes.pop() != Some(frame::END) {
            let _ = left.send(Instant::now());
            return;
        }
        calls.lock().unwrap().push(frame::decode(&bytes).unwrap());
        let sent = match act {
            Act::Reply(step) => {
                writer.write_all(&frame::encode(&frame::Reply::Parameters { parameters: step }).unwrap())
            }
            Act::Raw(bytes) => writer.write_all(bytes),
            Act::Hang => Ok(()),
            Act::Close => return,
        };
        if sent.is_err() {
            return;
        }
    }
    // The module closes first, and then says nothing more.
    if !matches!(acts.last(), Some(Act::Reply(Step::Verdict(_)))) {
        let mut rest = vec![];
        if reader.read_to_end(&mut rest).is_ok() {
            let _ = left.send(Instant::now());
        }
    }
}
