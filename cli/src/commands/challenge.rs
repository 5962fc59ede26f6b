//! `countersign approve --challenge HEX`: the code for a login of a host that cannot reach its server. Needs no
//! network.

use crate::approver::store::{Device, Store};
use crate::output::{Exit, Failure, Outcome, Output, date};
use countersign_protocol::keys::PublicKey;
use countersign_protocol::phone_code::{self, Challenge};
use countersign_protocol::text::escape;
use serde_json::json;

/// Shows what a challenge asks, and its code once the person agrees.
pub(super) fn run(
    text: &str,
    store: &Store,
    device: &Device,
    agrees: &dyn Fn(&str) -> Outcome<bool>,
    out: Output,
) -> Outcome {
    let refused = |why: String| Failure::new(Exit::Refused, why);
    let bytes = bytes(text).ok_or_else(|| {
        Failure::new(Exit::Usage, "a challenge is the bytes of the QR code as hexadecimal digits")
    })?;
    let challenge = Challenge::parse(&bytes).map_err(|error| refused(error.to_string()))?;
    let of = |key: &PublicKey| phone_code::at_device(&device.seal_key, &device.card.hash, key, &challenge);
    let pinned = store.hosts().iter().filter_map(|host| Some((host, PublicKey::from_line(&host.key).ok()?)));
    // Another host's is passed over; whatever else is wrong is said.
    let mut codes = pinned.map(|(host, key)| (host, of(&key)));
    let found = codes.find(|(_, code)| code != &Err(phone_code::PhoneCodeError::OtherHost));
    let Some((host, code)) = found else {
        return Err(refused("the challenge is of a host that was never paired".to_owned()));
    };
    let code = code.map_err(|error| refused(error.to_string()))?;
    let from = match challenge.address.as_str() {
        "" => "at the machine itself".to_owned(),
        address => format!("from {}", escape(address)),
    };
    let question = format!(
        "{} wants in at {} ({}, {from}), asked at {} and good for {} s by its clock.",
        escape(&challenge.user),
        escape(&host.name),
        escape(&challenge.service),
        date(challenge.time.into()),
        challenge.ttl,
    );
    if !agrees(&question)? {
        return Err(refused("not approved: no code was shown".to_owned()));
    }
    let (left, right) = code.split_at_checked(4).unwrap_or((&code, ""));
    let object = json!({ "event": "phone-code", "host": host.name, "user": challenge.user, "code": *code });
    out.either(&object, || format!("Type this code at the login: {left} {right}"))
}

/// Bytes from hexadecimal digits.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .trim()
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn only_whole_bytes_are_read() {
        assert_eq!(bytes(" 00fFa5\n"), Some(vec![0, 0xff, 0xa5]));
        for bad in ["0", "0g", "é0", "0x00"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
