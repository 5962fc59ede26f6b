//! Lines for the system's log, where nobody looks at a terminal.

use std::os::unix::net::UnixDatagram;

/// Where the system's log listens.
const SOCKET: &str = "/dev/log";
/// authpriv.alert, authpriv.warning and authpriv.notice, as RFC 3164 counts them.
const ALERT: u8 = 81;
const WARNING: u8 = 84;
const NOTICE: u8 = 85;

/// Something an administrator has to mend at once.
pub(super) fn alert(text: &str) {
    send(ALERT, text);
}

/// Something an administrator should see.
pub(super) fn warning(text: &str) {
    send(WARNING, text);
}

/// Something that was done.
pub(super) fn notice(text: &str) {
    send(NOTICE, text);
}

/// A log that is not there stops nobody.
fn send(priority: u8, text: &str) {
    let text = countersign_protocol::text::escape(text);
    let line = format!("<{priority}>countersign[{}]: {text}", std::process::id());
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(line.as_bytes(), SOCKET);
    }
}
