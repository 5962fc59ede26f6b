//! The built push server.

use super::SOON;
use countersign_protocol::{digest, random};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The server's program, built if need be: it is another package's.
fn server_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_BIN_EXE_countersign")).with_file_name("countersign-server");
        // `make test-unit` has just built it, with features of its own.
        if std::env::var_os("COUNTERSIGN_IS_BUILT").is_some() && program.exists() {
            return program;
        }
        let mut build = Command::new(env!("CARGO"));
        // As `cargo test --workspace` has built it: of the server alone other features would be wanted, and half of the
        // dependencies compiled once more.
        build.args(["test", "-q", "--workspace", "--no-run"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success());
        assert!(program.exists(), "{}: built elsewhere", program.display());
        program
    })
}

/// A directory that goes away with it.
pub(crate) struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let name = format!("countersign-e2e-{}", digest::hex(&random::bytes::<8>()));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
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

/// A server on loopback.
pub(crate) struct Server {
    pub(crate) dir: Dir,
    port: u16,
    child: Option<Child>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { dir: Dir::new(), port, child: None };
        server.up();
        server
    }

    pub(crate) fn up(&mut self) {
        let child = Command::new(server_program())
            .arg("serve")
            .args(["--listen", &format!("127.0.0.1:{}", self.port), "--origin", &self.origin(), "--database"])
            .arg(self.dir.path().join("server.db"))
            .stderr(std::fs::File::create(self.dir.path().join("server.log")).unwrap())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let end = Instant::now() + SOON;
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < end, "the server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn token(&self) -> String {
        let out = Command::new(server_program())
            .args(["token", "--quiet", "--database"])
            .arg(self.dir.path().join("server.db"))
            .output()
            .unwrap();
        assert!(out.status.success());
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}
