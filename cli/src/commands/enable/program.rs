//! Other programs, run for a bounded time and heard to a bounded length.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::output::{Exit, Failure, Outcome};

/// Most that is kept of what one says.
const MAX_SAID: u64 = 64 << 20;
/// How often its end is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// How one ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) is_success: bool,
    /// Its standard output.
    pub(crate) out: String,
    /// What it said on standard error, in one line.
    pub(crate) said: String,
}

/// Runs one.
///
/// # Errors
/// When it is not there, or does not end in time.
pub(crate) fn run(program: &str, arguments: &[&str], within: Duration) -> Outcome<Ended> {
    let broken = |error: &dyn std::fmt::Display| Failure::broken(program, error);
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| broken(&error))?;
    let (out, said) = (child.stdout.take().map(heard), child.stderr.take().map(heard));
    let end = Instant::now() + within;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| broken(&error))? {
            break status;
        }
        if Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Failure::new(
                Exit::Broken,
                format!("{program} did not end within {} s", within.as_secs()),
            ));
        }
        std::thread::sleep(LOOK);
    };
    let text = |reader: Option<std::thread::JoinHandle<String>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    let said =
        text(said).lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    Ok(Ended { is_success: status.success(), out: text(out), said })
}

/// Reads beside the wait, so that a full pipe stops nobody.
fn heard(pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut pipe = pipe.take(MAX_SAID);
        let _ = pipe.read_to_end(&mut bytes);
        // What is more is thrown away.
        let _ = std::io::copy(&mut pipe.into_inner(), &mut std::io::sink());
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_heard_and_bounded() {
        let ended =
            run("sh", &["-c", "echo out; echo a >&2; echo b >&2; exit 3"], Duration::from_secs(5)).unwrap();
        assert_eq!((ended.is_success, ended.out.as_str(), ended.said.as_str()), (false, "out\n", "a; b"));
        assert!(run("sleep", &["60"], Duration::from_millis(50)).is_err());
        assert!(run("/no/such/program", &[], Duration::from_secs(1)).is_err());
    }
}
