//! What a push service carries: encrypted for the device's browser (RFC 8291), as one record of
//! `aes128gcm` (RFC 8188). All bodies have one length, so that a service cannot tell what happens.

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce};
use countersign_protocol::random;
use hkdf::Hkdf;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::{PublicKey, SecretKey, ecdh};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Length of every body: the most that every push service takes.
pub(super) const BODY: usize = 4096;
/// Length of an uncompressed P-256 point.
pub(super) const POINT: usize = 65;
/// Length of a subscription's secret.
pub(super) const AUTH: usize = 16;
const SALT: usize = 16;
const TAG: usize = 16;
/// Salt, record size, and the sender's key with its length.
const HEADER: usize = SALT + 4 + 1 + POINT;
/// Length of the plaintext with its padding.
const PADDED: usize = BODY - HEADER - TAG;
/// Longest plaintext: a byte is needed to mark its end.
pub(super) const MAX_PLAINTEXT: usize = PADDED - 1;
/// Marks the end of the last record's plaintext; zeros follow.
const LAST: u8 = 2;

/// A browser's keys of a subscription.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) public: PublicKey,
    pub(super) auth: [u8; AUTH],
}

/// Encrypts a message with a fresh key and salt. `None` when it is over [`MAX_PLAINTEXT`].
pub(super) fn encrypt(keys: &Keys, plaintext: &[u8]) -> Option<Vec<u8>> {
    if plaintext.len() > MAX_PLAINTEXT {
        return None;
    }
    let mut padded = Zeroizing::new(Vec::with_capacity(PADDED));
    padded.extend_from_slice(plaintext);
    padded.push(LAST);
    padded.resize(PADDED, 0);
    seal(keys, &new_secret(), random::bytes(), &padded)
}

/// A new private key.
pub(super) fn new_secret() -> SecretKey {
    loop {
        // All but one in 2³² random numbers are keys.
        if let Ok(secret) = SecretKey::from_slice(&*Zeroizing::new(random::bytes::<32>())) {
            return secret;
        }
    }
}

/// A public key as its 65 bytes.
pub(super) fn point(key: &PublicKey) -> [u8; POINT] {
    let mut bytes = [0; POINT];
    for (byte, from) in bytes.iter_mut().zip(key.to_sec1_point(false).as_bytes()) {
        *byte = *from;
    }
    bytes
}

fn seal(keys: &Keys, sender: &SecretKey, salt: [u8; SALT], padded: &[u8]) -> Option<Vec<u8>> {
    let sender_point = point(&sender.public_key());
    let shared = ecdh::diffie_hellman(sender.to_nonzero_scalar(), keys.public.as_affine());
    let mut input = Zeroizing::new([0u8; 32]);
    Hkdf::<Sha256>::new(Some(&keys.auth), shared.raw_secret_bytes())
        .expand_multi_info(&[b"WebPush: info\0", &point(&keys.public), &sender_point], &mut *input)
        .ok()?;
    let hkdf = Hkdf::<Sha256>::new(Some(&salt), &*input);
    let (mut key, mut nonce) = (Zeroizing::new([0u8; 16]), [0u8; 12]);
    hkdf.expand(b"Content-Encoding: aes128gcm\0", &mut *key).ok()?;
    hkdf.expand(b"Content-Encoding: nonce\0", &mut nonce).ok()?;
    let record = Aes128Gcm::new((&*key).into()).encrypt(&Nonce::from(nonce), padded).ok()?;

    let mut body = Vec::with_capacity(HEADER + record.len());
    body.extend_from_slice(&salt);
    body.extend_from_slice(&(BODY as u32).to_be_bytes());
    body.push(POINT as u8);
    body.extend_from_slice(&sender_point);
    body.extend_from_slice(&record);
    Some(body)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use base64ct::{Base64UrlUnpadded, Encoding};

    fn bytes(text: &str) -> Vec<u8> {
        Base64UrlUnpadded::decode_vec(text).unwrap()
    }

    fn secret(text: &str) -> SecretKey {
        SecretKey::from_slice(&bytes(text)).unwrap()
    }

    /// What a browser does with a body.
    pub(in crate::push) fn open(receiver: &SecretKey, auth: [u8; AUTH], body: &[u8]) -> Option<Vec<u8>> {
        let (header, record) = body.split_at_checked(HEADER)?;
        let salt = &header[..SALT];
        assert_eq!(header[SALT..SALT + 5], [0, 0, 16, 0, POINT as u8]);
        let sender = PublicKey::from_sec1_bytes(&header[SALT + 5..]).unwrap();
        let shared = ecdh::diffie_hellman(receiver.to_nonzero_scalar(), sender.as_affine());
        let info = [b"WebPush: info\0", &point(&receiver.public_key())[..], &point(&sender)].concat();
        let mut input = [0u8; 32];
        Hkdf::<Sha256>::new(Some(&auth), shared.raw_secret_bytes()).expand(&info, &mut input).unwrap();
        let hkdf = Hkdf::<Sha256>::new(Some(salt), &input);
        let (mut key, mut nonce) = ([0u8; 16], [0u8; 12]);
        hkdf.expand(b"Content-Encoding: aes128gcm\0", &mut key).unwrap();
        hkdf.expand(b"Content-Encoding: nonce\0", &mut nonce).unwrap();
        let mut plain = Aes128Gcm::new((&key).into()).decrypt(&Nonce::from(nonce), record).ok()?;
        while plain.pop()? != LAST {}
        Some(plain)
    }

    #[test]
    fn the_example_of_rfc_8291_comes_out_byte_for_byte() {
        let receiver = secret("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94");
        let public =
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        assert_eq!(point(&receiver.public_key()).as_slice(), bytes(public));
        let auth = bytes("BTBZMqHH6r4Tts7J_aSIgg").try_into().unwrap();
        let keys = Keys { public: receiver.public_key(), auth };
        let sender = secret("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let mut padded = b"When I grow up, I want to be a watermelon".to_vec();
        padded.push(LAST);
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(Base64UrlUnpadded::encode_string(&seal(&keys, &sender, salt, &padded).unwrap()), expected);
        assert_eq!(open(&receiver, auth, &bytes(expected)).unwrap(), padded[..padded.len() - 1]);
    }

    #[test]
    fn every_body_has_one_length_and_none_is_like_another() {
        let receiver = new_secret();
        let keys = Keys { public: receiver.public_key(), auth: [7; AUTH] };
        for length in [0, 1, 3000, MAX_PLAINTEXT] {
            let plain = vec![LAST; length];
            let (one, two) = (encrypt(&keys, &plain).unwrap(), encrypt(&keys, &plain).unwrap());
            assert_eq!((one.len(), two.len()), (BODY, BODY));
            // Salt, key and ciphertext are fresh each time.
            assert_ne!(one[..SALT], two[..SALT]);
            assert_ne!(one[SALT + 5..HEADER], two[SALT + 5..HEADER]);
            assert_ne!(one[HEADER..HEADER + TAG], two[HEADER..HEADER + TAG]);
            assert_eq!(open(&receiver, keys.auth, &one).unwrap(), plain);
            assert_eq!(open(&receiver, [8; AUTH], &one), None);
        }
        assert_eq!(encrypt(&keys, &[0; MAX_PLAINTEXT + 1]), None);
    }
}
