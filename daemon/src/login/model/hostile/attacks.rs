//! What a server can do to a login that means harm, and how likely each is.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::login::model::forgery::{Forgery, forgeries};
use crate::testing::hostile::{Call, Lie, NONSENSE};
use crate::testing::wire::{Harm, Junk};

/// What is done to a login.
#[derive(Debug, Clone)]
pub(super) enum Attack {
    Forge(Forgery),
    Lie(Call, Lie),
    Harm(Harm),
    /// Something that is no event, or one that nobody needs.
    Stream(Noise),
}

/// What a stream can carry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Noise {
    /// A line that does not end.
    Line,
    /// An event that does not end.
    Event,
    NoText,
    Zeros,
    Comments,
    Hellos,
    Later,
    /// Decisions that are none.
    Nulls,
    Nested,
    /// Half an event, and the stream ends.
    Half,
}

impl Noise {
    pub(super) fn bytes(self) -> Vec<u8> {
        match self {
            Self::Line => [b"data: ".to_vec(), vec![b'x'; 1 << 20]].concat(),
            Self::Event => b"data: and one more line of it\n".repeat(5_000),
            Self::NoText => b"data: \xff\xfe\n\n".to_vec(),
            Self::Zeros => vec![0; 10_000],
            Self::Comments => b":\n".repeat(50_000),
            Self::Hellos => b"event: hello\ndata: {\"server\":\"x\",\"epoch\":\"y\"}\n\n".repeat(300),
            Self::Later => b"event: of a later server\nid: 1\nretry: 0\ndata: ?\n\n".repeat(1_000),
            Self::Nulls => b"event: decision\ndata: null\n\n".to_vec(),
            Self::Nested => {
                [b"event: decision\ndata: ".to_vec(), vec![b'['; 20_000], b"\n\n".to_vec()].concat()
            }
            Self::Half => b"event: decision\ndata: {\"env".to_vec(),
        }
    }
}

pub(super) fn attacks() -> impl Strategy<Value = Vec<Attack>> {
    let one = prop_oneof![
        6 => forgeries().prop_map(Attack::Forge),
        4 => (calls(), lies()).prop_map(|(call, lie)| Attack::Lie(call, lie)),
        3 => harms().prop_map(Attack::Harm),
        2 => noise().prop_map(Attack::Stream),
    ];
    vec(one, 1..4)
}

fn calls() -> impl Strategy<Value = Call> {
    // Where streams are held back, three seconds pass before it polls.
    prop_oneof![
        8 => Just(Call::Post),
        3 => Just(Call::Stream),
        2 => Just(Call::Challenge),
        2 => Just(Call::Token),
        1 => Just(Call::Poll),
    ]
}

fn lies() -> impl Strategy<Value = Lie> {
    let statuses =
        vec![200_u16, 204, 206, 304, 400, 401, 403, 404, 405, 408, 413, 418, 429, 500, 502, 503, 504, 599];
    let later = vec!["0", "-1", "soon", "99999999999999999999", "18446744073709551615", "1", ""];
    prop_oneof![
        4 => select(statuses).prop_map(Lie::Status),
        2 => select(vec![301_u16, 302, 303, 307, 308]).prop_map(Lie::Redirect),
        2 => select(later).prop_map(Lie::Later),
        2 => (1..400_000_u32, any::<bool>()).prop_map(|(bytes, is_one)| Lie::Headers(bytes, is_one)),
        2 => select(vec![-100_i32, -1, 1, 100, i32::MAX]).prop_map(Lie::Length),
        1 => select(vec!["gzip", "br", "deflate", "identity, gzip"]).prop_map(Lie::Encoded),
        3 => select(NONSENSE.to_vec()).prop_map(Lie::Body),
        3 => any::<u16>().prop_map(Lie::Flipped),
        2 => any::<u16>().prop_map(Lie::Cut),
        1 => Just(Lie::Twice),
        1 => any::<u8>().prop_map(Lie::Endless),
        1 => Just(Lie::Dripping),
        1 => Just(Lie::Silent),
    ]
}

fn harms() -> impl Strategy<Value = Harm> {
    // What a connection says first: its settings, a challenge, a token, hello.
    let place = || 0..700_u16;
    let junk = vec![
        Junk::Zeros,
        Junk::OldAnswer,
        Junk::Pings,
        Junk::Settings,
        Junk::GoAway,
        Junk::HugeFrame,
        Junk::Continuations,
        Junk::Push,
    ];
    prop_oneof![
        3 => place().prop_map(Harm::Cut),
        2 => place().prop_map(Harm::Reset),
        1 => place().prop_map(Harm::Stall),
        4 => (place(), any::<u8>()).prop_map(|(at, bit)| Harm::Flip(at, bit)),
        2 => place().prop_map(Harm::Repeat),
        2 => place().prop_map(Harm::Skip),
        4 => (place(), select(junk)).prop_map(|(at, junk)| Harm::Inject(at, junk)),
        1 => place().prop_map(Harm::Drip),
    ]
}

fn noise() -> impl Strategy<Value = Noise> {
    select(vec![
        Noise::Line,
        Noise::Event,
        Noise::NoText,
        Noise::Zeros,
        Noise::Comments,
        Noise::Hellos,
        Noise::Later,
        Noise::Nulls,
        Noise::Nested,
        Noise::Half,
    ])
}
