//! Signatures that a lax verifier takes.

use super::*;
use curve25519_dalek::scalar::Scalar;
use p256_ecdsa::signature::Signer as _;
use sha2::{Digest, Sha512};

/// Order of the base point, little endian.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
/// Order of P-256, big endian.
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

fn blob(name: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::put_string(&mut out, name.as_bytes());
    parts.iter().for_each(|part| wire::put_string(&mut out, part));
    out
}

fn ed25519_signature(signature: &[u8]) -> Vec<u8> {
    blob(ED25519, &[signature])
}

#[test]
fn small_order_public_keys_are_refused() {
    // The eight points of small order and their other encodings, from the list in
    // "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko).
    for hex in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let bytes: Vec<u8> =
            (0..64).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
        let key = PublicKey::from_blob(&blob(ED25519, &[&bytes]));
        assert!(matches!(key, Err(KeyError::Weak | KeyError::Malformed(_))), "{hex}: {key:?}");
    }
}

#[test]
fn a_second_encoding_of_a_point_is_refused() {
    // y = p + 3 decodes as y = 3, which is a point of full order.
    let mut second = [0xffu8; 32];
    (second[0], second[31]) = (0xf0, 0x7f);
    let lax = ed25519::VerifyingKey::from_bytes(&second).unwrap();
    assert!(!lax.is_weak());
    assert_eq!(PublicKey::from_blob(&blob(ED25519, &[&second])), Err(KeyError::Weak));
    let mut first = [0u8; 32];
    first[0] = 3;
    assert!(PublicKey::from_blob(&blob(ED25519, &[&first])).is_ok());
}

#[test]
fn a_small_order_nonce_is_refused() {
    let secret = ed25519::SigningKey::from_bytes(&[7; 32]);
    let key = PublicKey::from_kind(Kind::Ed25519(secret.verifying_key()));
    let mut r = [0u8; 32];
    r[0] = 1;
    let k = Scalar::from_bytes_mod_order_wide(
        &Sha512::new()
            .chain_update(r)
            .chain_update(secret.verifying_key().as_bytes())
            .chain_update(b"data")
            .finalize()
            .into(),
    );
    let s = k * secret.to_scalar();
    let signature = [r, s.to_bytes()].concat();
    // RFC 8032 itself would let it pass.
    let lax = ed25519::Signature::from_slice(&signature).unwrap();
    assert!(secret.verifying_key().verify(b"data", &lax).is_ok());
    assert_eq!(key.verify(b"data", &ed25519_signature(&signature)), Err(BadSignature));
}

#[test]
fn a_signature_has_one_form() {
    let secret = SigningKey::from_seed(&[7; 32]);
    let good = secret.sign(b"data").unwrap();
    assert_eq!(secret.public_key().verify(b"data", &good), Ok(()));
    let mut moved = good[good.len() - 64..].to_vec();
    let mut carry = 0u16;
    for (byte, l) in moved[32..].iter_mut().zip(L) {
        carry += u16::from(*byte) + u16::from(l);
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    assert_eq!(carry, 0, "S + L still fits 32 bytes");
    for bad in [
        ed25519_signature(&moved),
        ed25519_signature(&good[good.len() - 63..]),
        [&good[..], &[0]].concat(),
        good[..good.len() - 1].to_vec(),
        blob(P256, &[&good[good.len() - 64..]]),
        blob("ssh-ed448", &[&good[good.len() - 64..]]),
        Vec::new(),
    ] {
        assert_eq!(secret.public_key().verify(b"data", &bad), Err(BadSignature));
    }
}

#[test]
fn p256_numbers_are_read_strictly_and_never_changed() {
    let secret = p256_ecdsa::SigningKey::from_slice(&[9; 32]).unwrap();
    let key = PublicKey::from_kind(Kind::P256(*secret.verifying_key()));
    let encode = |r: &[u8; 32], s: &[u8; 32]| {
        let mut numbers = Vec::new();
        wire::put_scalar(&mut numbers, r);
        wire::put_scalar(&mut numbers, s);
        blob(P256, &[&numbers])
    };
    let mut short = 0;
    for i in 0..600u32 {
        // What WebCrypto gives: r and s, 32 bytes each.
        let data = i.to_be_bytes();
        let signature: p256_ecdsa::Signature = secret.sign(&data);
        let (r, s): ([u8; 32], [u8; 32]) = (signature.r().to_bytes().into(), signature.s().to_bytes().into());
        short += usize::from(r[0] == 0 || s[0] == 0);
        assert_eq!(key.verify(&data, &encode(&r, &s)), Ok(()));
        // WebCrypto and OpenSSL choose the higher s half of the time.
        let other: [u8; 32] = (-*signature.s()).to_bytes().into();
        assert_eq!(key.verify(&data, &encode(&r, &other)), Ok(()));
    }
    assert!(short > 0, "some numbers begin with a zero byte");

    let signature: p256_ecdsa::Signature = secret.sign(b"data");
    let (r, s): ([u8; 32], [u8; 32]) = (signature.r().to_bytes().into(), signature.s().to_bytes().into());
    let raw = [r, s].concat();
    let mut wide = Vec::new();
    wire::put_string(&mut wide, &[&[0u8, 0][..], &r].concat());
    wire::put_scalar(&mut wide, &s);
    for bad in [
        blob(P256, &[&raw]),
        blob(P256, &[&wide]),
        blob(P256, &[signature.to_der().as_bytes()]),
        encode(&[0; 32], &s),
        encode(&r, &[0; 32]),
        encode(&N, &s),
        encode(&r, &N),
        encode(&[0xff; 32], &s),
        encode(&s, &r),
        blob(ED25519, &[&raw]),
        [encode(&r, &s), vec![0]].concat(),
    ] {
        assert_eq!(key.verify(b"data", &bad), Err(BadSignature));
    }
}

#[test]
fn points_off_the_curve_and_other_forms_are_refused() {
    let good = p256_ecdsa::SigningKey::from_slice(&[9; 32]).unwrap().verifying_key().to_sec1_point(false);
    let mut off = good.as_bytes().to_vec();
    off[64] ^= 1;
    let compressed =
        p256_ecdsa::SigningKey::from_slice(&[9; 32]).unwrap().verifying_key().to_sec1_point(true);
    for point in [&off[..], compressed.as_bytes(), &[0], &[4; 65], &[]] {
        let key = PublicKey::from_blob(&blob(P256, &[b"nistp256", point]));
        assert!(matches!(key, Err(KeyError::Malformed(_))), "{point:?}");
    }
    assert!(PublicKey::from_blob(&blob(P256, &[b"nistp256", good.as_bytes()])).is_ok());
    assert!(PublicKey::from_blob(&blob(P256, &[b"nistp384", good.as_bytes()])).is_err());
}

#[test]
fn a_damaged_file_is_told_without_what_acts_in_it() {
    let pem = SigningKey::from_seed(&[7; 32]).to_openssh("phone").unwrap();
    let mut blob: Vec<u8> =
        Base64::decode_vec(&pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
    // The name of the cipher, which is "none".
    let at = blob.windows(4).position(|name| name == b"none").unwrap();
    blob[at] = 0x1b;
    let body = Base64::encode_string(&blob);
    let lines: Vec<&str> =
        body.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem = format!(
        "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
        lines.join("\n")
    );
    let told = SigningKey::from_openssh(&pem, None).unwrap_err().to_string();
    assert!(!told.chars().any(crate::text::is_active) && told.contains("\\u{1b}one"), "{told}");
}

#[test]
fn secrets_are_not_printed() {
    let key = SigningKey::from_seed(&[7; 32]);
    assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public_key().fingerprint()));
    assert_eq!(format!("{:?}", SealKey::from_bytes(&[7; 32])), "SealKey");
}
