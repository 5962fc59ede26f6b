//! Other programs, each for a bounded time.

use std::path::Path;
use std::time::Duration;

use crate::commands::enable::program::run;

/// How long one may take.
const WITHIN: Duration = Duration::from_secs(5);

/// What a program prints, when it ends well.
///
/// # Errors
/// Why it did not, in one line.
pub(super) fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let ended = run(program, args, WITHIN).map_err(|failure| failure.message)?;
    if ended.is_success { Ok(ended.out) } else { Err(format!("{program}: {}", ended.said)) }
}

/// The first of these paths that is there.
pub(super) fn first<'a>(paths: &[&'a str]) -> Option<&'a str> {
    paths.iter().copied().find(|path| Path::new(path).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_or_is_not_there_is_told_in_a_line() {
        assert_eq!(output("echo", &["x"]).unwrap(), "x\n");
        assert!(output("ls", &["/nowhere"]).unwrap_err().contains("/nowhere"));
        assert!(output("countersign-is-not-there", &[]).is_err());
    }
}
