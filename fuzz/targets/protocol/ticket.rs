//! Pairing links and typed tickets.

use countersign_fuzz::{Target, actors, check, input::Input};
use countersign_protocol::keys::Signer;
use countersign_protocol::pairing::{Ticket, TypedTicket, is_origin};

pub(crate) const TARGET: Target = Target { name: "ticket", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let is_typed = input.byte() == b't';
    let text = input.line();
    if is_typed {
        let typed = match TypedTicket::parse(&text) {
            Ok(typed) => typed,
            Err(error) => return check::is_inert(&error.to_string()),
        };
        let (origin, host) = (input.line(), input.line());
        match typed.clone().of_host(&origin, &host) {
            Ok(ticket) => {
                assert_eq!(TypedTicket::parse(&ticket.typed()).as_ref(), Ok(&typed));
                assert_eq!(ticket.mailbox(), typed.mailbox());
                reads_back(&ticket);
            }
            Err(error) => check::is_inert(&error.to_string()),
        }
    } else {
        match Ticket::parse(&text) {
            Ok(ticket) => {
                reads_back(&ticket);
                assert!(TypedTicket::parse(&ticket.typed()).is_ok());
            }
            Err(error) => check::is_inert(&error.to_string()),
        }
    }
}

fn reads_back(ticket: &Ticket) {
    assert!(is_origin(ticket.origin()));
    // Where it leads is where a browser would go: no user, no path, no other characters.
    check::is_inert(ticket.origin());
    assert!(!ticket.origin().contains(['@', '#', '?', '\\', ' ']));
    assert_eq!(Ticket::parse(&ticket.link()).as_ref(), Ok(ticket));
    assert_eq!(format!("{ticket:?}"), format!("Ticket({})", ticket.origin()), "its secret is not shown");
}

fn seeds() -> Vec<Vec<u8>> {
    let host = actors::host().public_key().id();
    let typed = "01234-56789-abcde-fghjk-mnpqrr";
    let link = format!("https://push.example.com:8443/pair#1.AQEBAQEBAQEBAQEBAQEBAQ.{host}");
    [
        format!("l{link}"),
        format!("l {link}.https://push.example.com"),
        format!("l{}", link.replace("push.example.com", "[::1]")),
        format!("t{typed}\n{}\n{host}", actors::ORIGIN),
        format!("t OI234 56789\tABCDE fghjk-MNPQRR\nhttp://127.0.0.1:1\n{host}"),
    ]
    .map(String::into_bytes)
    .into()
}
