//! What the relay checks of a message that it cannot read.

use crate::directory::KeyId;
use crate::problem::Fault;
use base64ct::{Base64, Encoding};
use bytes::Bytes;
use countersign_protocol::api::event;
use countersign_protocol::message::{MessageType, Sealed};
use countersign_protocol::seal;

/// A request's or a notice's id.
pub(crate) type RequestId = [u8; 16];

/// A message whose outside is in order.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) message_type: MessageType,
    pub(crate) from: KeyId,
    pub(crate) to: KeyId,
    pub(crate) id: RequestId,
    pub(crate) frame: Frame,
}

/// Reads a message's envelope and checks the form of the rest.
pub(crate) fn check(sealed: &Sealed) -> Result<Checked, Fault> {
    let envelope = seal::peek(sealed).map_err(|e| Fault::bad(format!("a message is malformed: {e}")))?;
    // Its length is right, and the sealed part's a multiple of three: it has no padding.
    if !sealed.sealed.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/') {
        return Err(Fault::bad("a message is malformed: the sealed part is not base64"));
    }
    let bad_id = || Fault::bad("a message is malformed: the envelope names no key ids or request id");
    let from = KeyId::parse(&envelope.from).ok_or_else(bad_id)?;
    let to = KeyId::parse(&envelope.to).ok_or_else(bad_id)?;
    let id = request_id(&envelope.id).ok_or_else(bad_id)?;
    let frame = Frame::new(envelope.message_type, sealed)?;
    Ok(Checked { message_type: envelope.message_type, from, to, id, frame })
}

/// Reads 32 lower-case hex digits.
pub(crate) fn request_id(text: &str) -> Option<RequestId> {
    let digit = |b: &u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut id = [0u8; 16];
    if pairs.len() != id.len() {
        return None;
    }
    for (byte, [high, low]) in id.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(id)
}

/// A message as an event of a stream: made once, shared by all who send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    bytes: Bytes,
    decision: bool,
}

impl Frame {
    fn new(message_type: MessageType, sealed: &Sealed) -> Result<Self, Fault> {
        let decision = matches!(message_type, MessageType::Decision | MessageType::Removal);
        let mut bytes = head(decision).as_bytes().to_vec();
        bytes.reserve_exact(sealed.sealed.len() + sealed.envelope.len() + 160);
        serde_json::to_writer(&mut bytes, sealed).map_err(|_| Fault::internal())?;
        bytes.extend_from_slice(b"\n\n");
        Ok(Self { bytes: bytes.into(), decision })
    }

    /// As it goes into an event stream.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Bytes that it takes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The event's name.
    pub(crate) fn event(&self) -> &'static str {
        if self.decision { event::DECISION } else { event::MESSAGE }
    }

    /// The event's data, JSON text.
    pub(crate) fn data(&self) -> Option<&str> {
        let data = self.bytes.get(head(self.decision).len()..self.bytes.len().checked_sub(2)?)?;
        std::str::from_utf8(data).ok()
    }
}

fn head(decision: bool) -> &'static str {
    // The names of `api::event`; a test holds them together.
    if decision { "event: decision\ndata: " } else { "event: message\ndata: " }
}

/// Whether a text is standard base64, of at most `max` characters.
pub(crate) fn is_base64(text: &str, max: usize) -> bool {
    text.len() <= max && Base64::decode_vec(text).is_ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use countersign_protocol::message::{Envelope, PADDED};

    pub(crate) fn sealed(message_type: MessageType, id: u8, fill: u8) -> Sealed {
        let envelope = Envelope {
            version: 1,
            message_type,
            from: KeyId([1; 32]).to_string(),
            to: KeyId([2; 32]).to_string(),
            id: format!("{id:02x}").repeat(16),
        };
        Sealed {
            envelope: serde_json::to_string(&envelope).unwrap(),
            sealed: Base64::encode_string(&[fill; 32 + PADDED + 16]),
        }
    }

    pub(crate) fn frame(message_type: MessageType, id: u8, fill: u8) -> Frame {
        check(&sealed(message_type, id, fill)).unwrap().frame
    }

    #[test]
    fn a_message_in_order_is_read() {
        for (message_type, name) in [
            (MessageType::Request, event::MESSAGE),
            (MessageType::Notice, event::MESSAGE),
            (MessageType::Decision, event::DECISION),
            (MessageType::Removal, event::DECISION),
        ] {
            let sealed = sealed(message_type, 0xa7, 9);
            let checked = check(&sealed).unwrap();
            assert_eq!(checked.message_type, message_type);
            assert_eq!((checked.from, checked.to, checked.id), (KeyId([1; 32]), KeyId([2; 32]), [0xa7; 16]));
            assert_eq!(checked.frame.event(), name);
            let text = String::from_utf8(checked.frame.bytes().to_vec()).unwrap();
            assert_eq!(text.lines().next(), Some(format!("event: {name}").as_str()));
            assert_eq!(text.lines().count(), 3, "one line of data, one empty");
            let data = checked.frame.data().unwrap();
            assert_eq!(serde_json::from_str::<Sealed>(data).unwrap(), sealed);
        }
    }

    #[test]
    fn what_is_out_of_order_is_refused() {
        let good = sealed(MessageType::Request, 1, 2);
        let with = |envelope: String| Sealed { envelope, ..good.clone() };
        let bad = [
            Sealed { sealed: good.sealed.replacen("AgIC", "AgI=", 1), ..good.clone() },
            Sealed { sealed: good.sealed.replacen("AgIC", "Ag-C", 1), ..good.clone() },
            Sealed { sealed: good.sealed[4..].to_owned(), ..good.clone() },
            Sealed { sealed: good.sealed.clone() + "AgIC", ..good.clone() },
            with(good.envelope.replace("request", "receipts")),
            with(good.envelope.replace("\"version\":1", "\"version\":2")),
            with(good.envelope.replace("{", "{\"more\":1,")),
            with(good.envelope.replace("0101", "01AF")),
            with(good.envelope.replace("0101", "010")),
            with(good.envelope.clone() + &" ".repeat(512)),
            with(String::new()),
        ];
        for (n, sealed) in bad.iter().enumerate() {
            assert!(check(sealed).is_err(), "{n}");
        }
    }

    #[test]
    fn a_line_end_in_the_envelope_cannot_end_the_event() {
        let mut sealed = sealed(MessageType::Request, 1, 2);
        sealed.envelope = sealed.envelope.replacen('{', "{\n\n\r", 1);
        let text = String::from_utf8(check(&sealed).unwrap().frame.bytes().to_vec()).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert!(!text.contains('\r'));
    }
}
