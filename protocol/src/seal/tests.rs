//! Seals against RFC 9180 and against every change of what they are bound to.

use super::*;
use crate::keys::{Signer, SigningKey};
use hpke::rand_core::{TryCryptoRng, TryRng};
use std::convert::Infallible;

/// Gives fixed bytes, for published and for our own test vectors.
pub(crate) struct Fixed(pub(crate) Vec<u8>);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("keys are made from bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("keys are made from bytes")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn rfc_9180_appendix_a_1_1() {
    // Base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.
    let info = hex("4f6465206f6e2061204772656369616e2055726e");
    let ikm_e = hex("7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234");
    let sk_r: [u8; 32] =
        hex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8").try_into().unwrap();
    let pk_r = hex("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d");
    let enc = hex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431");
    let plaintext = hex("4265617574792069732074727574682c20747275746820626561757479");
    let aad = hex("436f756e742d30");
    let ciphertext =
        hex("f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a");
    let key = SealKey::from_bytes(&sk_r);
    assert_eq!(key.public().to_vec(), pk_r);
    let public = <SealKem as Kem>::PublicKey::from_bytes(&pk_r).unwrap();
    let (made_enc, made) = hpke::single_shot_seal_with_rng::<AesGcm128, HkdfSha256, SealKem>(
        &OpModeS::Base,
        &public,
        &info,
        &plaintext,
        &aad,
        &mut Fixed(ikm_e),
    )
    .unwrap();
    assert_eq!(made_enc.to_bytes().to_vec(), enc);
    assert_eq!(made, ciphertext);
    let enc = <SealKem as Kem>::EncappedKey::from_bytes(&enc).unwrap();
    let opened = hpke::single_shot_open::<AesGcm128, HkdfSha256, SealKem>(
        &OpModeR::Base,
        key.secret(),
        &enc,
        &info,
        &ciphertext,
        &aad,
    );
    assert_eq!(opened.unwrap(), plaintext);
}

const TYPE: MessageType = MessageType::Request;

struct Case {
    sender: SigningKey,
    key: SealKey,
    hash: [u8; 32],
    envelope: Envelope,
}

impl Case {
    fn new() -> Self {
        let sender = SigningKey::from_seed(&[1; 32]);
        let key = SealKey::from_bytes(&[2; 32]);
        let envelope = Envelope {
            version: 1,
            message_type: TYPE,
            from: sender.public_key().id(),
            to: SigningKey::from_seed(&[3; 32]).public_key().id(),
            id: "00112233445566778899aabbccddeeff".into(),
        };
        Self { sender, key, hash: [4; 32], envelope }
    }

    fn seal(&self, body: &[u8], signature: &str) -> Result<Sealed, SealError> {
        let recipient = Recipient { seal_key: self.key.public(), hash: self.hash };
        seal(TYPE, self.sender.public_key(), &recipient, &self.envelope, body, signature)
    }

    fn open(&self, sealed: &Sealed) -> Result<Opened, SealError> {
        open(TYPE, &self.key, self.hash, self.sender.public_key(), sealed)
    }

    /// Seals any plaintext, as only a hostile sender would.
    fn seal_raw(&self, plaintext: &[u8]) -> Sealed {
        let envelope = serde_json::to_string(&self.envelope).unwrap();
        let key = <SealKem as Kem>::PublicKey::from_bytes(&self.key.public()).unwrap();
        let (enc, ciphertext) = hpke::single_shot_seal_with_rng::<AesGcm128, HkdfSha256, SealKem>(
            &OpModeS::Base,
            &key,
            &info(TYPE, self.sender.public_key(), &self.hash),
            plaintext,
            envelope.as_bytes(),
            &mut Fixed(vec![9; 32]),
        )
        .unwrap();
        let sealed = Base64::encode_string(&[&enc.to_bytes()[..], &ciphertext].concat());
        Sealed { envelope, sealed }
    }
}

#[test]
fn what_is_sealed_opens_and_always_has_one_length() {
    let case = Case::new();
    for (body, signature) in [(vec![], ""), (b"{}".to_vec(), "sig"), (vec![b'x'; MAX_BODY], "é")] {
        let sealed = case.seal(&body, signature).unwrap();
        assert_eq!(sealed.sealed.len(), SEALED_TEXT);
        let opened = case.open(&sealed).unwrap();
        assert_eq!((opened.body, opened.signature.as_str()), (body, signature));
        assert_eq!(opened.envelope, case.envelope);
    }
    assert_ne!(case.seal(b"x", "").unwrap(), case.seal(b"x", "").unwrap());
}

#[test]
fn every_bit_counts() {
    let case = Case::new();
    let sealed = case.seal(b"{}", "sig").unwrap();
    let bytes = Base64::decode_vec(&sealed.sealed).unwrap();
    let places = (0..ENC).chain((ENC..SEALED - TAG).step_by(97)).chain(SEALED - TAG..SEALED);
    for i in places {
        let mut changed = bytes.clone();
        changed[i] ^= 1 << (i % 8);
        let changed = Sealed { sealed: Base64::encode_string(&changed), ..sealed.clone() };
        assert_eq!(case.open(&changed), Err(SealError::Closed), "byte {i}");
    }
    // The top bit of an X25519 key is ignored by the curve, but not by the KEM.
    let mut top = bytes;
    top[ENC - 1] ^= 0x80;
    let top = Sealed { sealed: Base64::encode_string(&top), ..sealed.clone() };
    assert_eq!(case.open(&top), Err(SealError::Closed));
    let spaced = Sealed { envelope: sealed.envelope.replacen(':', ": ", 1), ..sealed };
    assert_eq!(case.open(&spaced), Err(SealError::Closed));
}

#[test]
fn it_opens_for_its_type_sender_recipient_and_envelope_only() {
    let case = Case::new();
    let sealed = case.seal(b"{}", "sig").unwrap();
    let other = SigningKey::from_seed(&[5; 32]);
    let sender = case.sender.public_key();
    let open_as = |t, key: &SealKey, hash, sender| open(t, key, hash, sender, &sealed);
    assert_eq!(open_as(MessageType::Closed, &case.key, case.hash, sender), Err(SealError::Envelope));
    assert_eq!(open_as(TYPE, &SealKey::from_bytes(&[6; 32]), case.hash, sender), Err(SealError::Closed));
    assert_eq!(open_as(TYPE, &case.key, [5; 32], sender), Err(SealError::Closed));
    assert_eq!(open_as(TYPE, &case.key, case.hash, other.public_key()), Err(SealError::Envelope));
    // The envelope's names changed to fit do not help.
    let id = case.sender.public_key().id();
    let forged =
        Sealed { envelope: sealed.envelope.replace(&id, &other.public_key().id()), ..sealed.clone() };
    assert_eq!(open(TYPE, &case.key, case.hash, other.public_key(), &forged), Err(SealError::Closed));
    let retyped = Sealed { envelope: sealed.envelope.replace("request", "closed"), ..sealed };
    assert_eq!(open(MessageType::Closed, &case.key, case.hash, sender, &retyped), Err(SealError::Closed));
}

#[test]
fn limits_and_layout_are_checked() {
    let case = Case::new();
    assert_eq!(case.seal(&[0; MAX_BODY + 1], ""), Err(SealError::TooLong));
    assert_eq!(case.seal(&[0; MAX_BODY], &"s".repeat(PADDED - MAX_BODY - 3)), Err(SealError::TooLong));
    assert!(case.seal(&[0; MAX_BODY], &"s".repeat(PADDED - MAX_BODY - 4)).is_ok());
    let good = case.seal(b"{}", "sig").unwrap();
    for bad in [
        Sealed { sealed: String::new(), ..good.clone() },
        Sealed { sealed: good.sealed.replacen(|_| true, "*", 1), ..good.clone() },
        Sealed { sealed: format!("{}AAAA", good.sealed), ..good.clone() },
        Sealed { envelope: "{}".into(), ..good.clone() },
        Sealed { envelope: good.envelope.replacen('{', "{\"more\":1,", 1), ..good.clone() },
    ] {
        assert_eq!(case.open(&bad), Err(SealError::Malformed));
    }
    let long = Sealed { envelope: format!("{}{}", good.envelope, " ".repeat(MAX_ENVELOPE)), ..good };
    assert_eq!(case.open(&long), Err(SealError::TooLong));

    let mut plaintext = vec![0; PADDED];
    assert_eq!(case.open(&case.seal_raw(&plaintext)).unwrap().body, b"");
    plaintext[PADDED - 1] = 1;
    assert_eq!(case.open(&case.seal_raw(&plaintext)), Err(SealError::Inside));
    for (at, length) in [(0, 0xffffu16), (0, 2049), (2, 0xffff), (2, 3070)] {
        let mut plaintext = vec![0; PADDED];
        plaintext[at..at + 2].copy_from_slice(&length.to_be_bytes());
        assert_eq!(case.open(&case.seal_raw(&plaintext)), Err(SealError::Inside), "{at} {length}");
    }
    let mut binary = vec![0; PADDED];
    binary[2..5].copy_from_slice(&[0, 1, 0xff]);
    assert_eq!(case.open(&case.seal_raw(&binary)), Err(SealError::Inside));
}

#[test]
fn keys_of_small_order_are_no_recipients() {
    let case = Case::new();
    let mut one = [0; 32];
    one[0] = 1;
    for seal_key in [[0; 32], one] {
        let recipient = Recipient { seal_key, hash: case.hash };
        let sealed = seal(TYPE, case.sender.public_key(), &recipient, &case.envelope, b"{}", "");
        assert_eq!(sealed, Err(SealError::Recipient));
    }
}
