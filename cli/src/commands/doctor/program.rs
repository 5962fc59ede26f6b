//! Other programs, each for a bounded time.

use std::path::Path;
use std::process::{Command, Stdio};

/// Seconds that one may take.
const WITHIN: &str = "5";
/// What `timeout` ends with when the time was up.
const TIMED_OUT: i32 = 124;
/// Longest output that is looked at.
const MAX_OUTPUT: usize = 8 << 20;

/// What a program prints, when it ends well.
///
/// # Errors
/// Why it did not, in one line.
pub(super) fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new("timeout")
        .args(["--kill-after=1", WITHIN, program])
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.code() == Some(TIMED_OUT) {
        return Err(format!("{program} did not end within {WITHIN} s"));
    }
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line =
            said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it failed").to_owned();
        return Err(format!("{program}: {line}"));
    }
    let bytes = output.stdout.get(..output.stdout.len().min(MAX_OUTPUT)).unwrap_or_default();
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// The first of these paths that is there.
pub(super) fn first<'a>(paths: &[&'a str]) -> Option<&'a str> {
    paths.iter().copied().find(|path| Path::new(path).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_or_is_not_there_is_told_in_a_line() {
        assert_eq!(output("echo", &["x"]).unwrap(), "x\n");
        assert!(output("sleep", &["60"]).unwrap_err().contains("did not end"));
        assert!(output("ls", &["/nowhere"]).unwrap_err().contains("/nowhere"));
        assert!(output("countersign-is-not-there", &[]).is_err());
    }
}
