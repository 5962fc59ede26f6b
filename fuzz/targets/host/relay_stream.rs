//! The server's event stream, cut anywhere.

use countersign_fuzz::{Target, input::Input};
use countersign_relay_client::fuzzing::stream;

pub(crate) const TARGET: Target = Target { name: "relay_stream", run, seeds };

fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let sizes: Vec<usize> = (0..4).map(|_| 1 + usize::from(input.byte())).collect();
    let text = input.rest();
    let (said, broken) = stream([text]);
    let (mut rest, mut pieces) = (text, Vec::new());
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    assert_eq!(stream(pieces), (said.clone(), broken), "cuts make no difference");

    let bytes: usize = said.iter().flatten().map(|(name, data)| name.len() + data.len()).sum();
    assert!(bytes <= text.len() + said.len() * "message".len());
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    assert!(said.len() <= lines, "no event without its end");
    for (name, data) in said.iter().flatten() {
        assert!(!name.contains('\n') && !name.is_empty());
        assert!(!data.contains('\r') || text.contains(&b'\r'));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "event: hello\ndata: {\"server\":\"x\",\"epoch\":\"y\"}\n\n: alive\n\nevent: message\ndata: {}\n\n",
        "id: 3\r\ndata:a\r\ndata: b\r\n\r\nevent: x\r\n\r\ndata\r\n\r\n",
        "retry: 1\n:\n\u{feff}data: é\n\n",
        "data: cut",
    ]
    .map(|text| [&[6, 0, 40, 2][..], text.as_bytes()].concat())
    .into()
}
