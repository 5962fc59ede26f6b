//! Other programs, each for a bounded time.

use std::path::Path;
use std::time::Duration;

use crate::commands::program::run;

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

/// What comes of looking at accounts and homes, which may be on a server that is gone; nothing when it takes too long.
pub(super) fn in_time<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    in_time_of(WITHIN, look)
}

fn in_time_of<T: Send + 'static>(within: Duration, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, hear) = std::sync::mpsc::channel();
    // Nobody waits for its end: what hangs in the kernel hangs until this process ends.
    std::thread::spawn(move || tell.send(look()));
    hear.recv_timeout(within).ok()
}

/// The first of these paths that is there.
pub(super) fn first<'a>(paths: &[&'a str]) -> Option<&'a str> {
    paths.iter().copied().find(|path| Path::new(path).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_given_up() {
        assert_eq!(in_time(|| 7), Some(7));
        let (_never, hear) = std::sync::mpsc::channel::<()>();
        assert_eq!(in_time_of(Duration::from_millis(20), move || hear.recv().is_ok()), None);
    }

    #[test]
    fn a_program_that_fails_or_is_not_there_is_told_in_a_line() {
        assert_eq!(output("echo", &["x"]).unwrap(), "x\n");
        assert!(output("ls", &["/nowhere"]).unwrap_err().contains("/nowhere"));
        assert!(output("countersign-is-not-there", &[]).is_err());
    }
}
