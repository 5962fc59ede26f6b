// HPKE base mode, single shot (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.

import { concat, hmac, utf8 } from './bytes.js';
import { u16 } from './wire.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

const KEM = concat(utf8('KEM'), u16(0x0020));
const SUITE = concat(utf8('HPKE'), u16(0x0020), u16(0x0001), u16(0x0001));
const LABEL = utf8('HPKE-v1');
const NONE = new Uint8Array(0);
/** HMAC pads its key with zeros: this is the empty salt. */
const NO_SALT = new Uint8Array(32);
const MODE_BASE = new Uint8Array(1);

/**
 * HKDF's second half (RFC 5869), for at most 255 * 32 bytes.
 * @param {Uint8Array} key
 * @param {Uint8Array} info
 * @param {number} length
 * @returns {Promise<Bytes>}
 */
export async function hkdfExpand(key, info, length) {
  let [out, block] = [new Uint8Array(0), new Uint8Array(0)];
  for (let i = 1; out.length < length; i++) {
    block = await hmac(key, block, info, Uint8Array.of(i));
    out = concat(out, block);
  }
  return out.slice(0, length);
}

/**
 * HKDF without salt.
 * @param {Uint8Array} ikm
 * @param {Uint8Array} info
 * @param {number} length
 */
export async function hkdf(ikm, info, length) {
  return hkdfExpand(await hmac(NO_SALT, ikm), info, length);
}

/**
 * @param {Uint8Array} suite
 * @param {Uint8Array} salt
 * @param {string} label
 * @param {Uint8Array} ikm
 */
export function labeledExtract(suite, salt, label, ikm) {
  return hmac(salt.length ? salt : NO_SALT, LABEL, suite, utf8(label), ikm);
}

/**
 * @param {Uint8Array} suite
 * @param {Uint8Array} key
 * @param {string} label
 * @param {Uint8Array} info
 * @param {number} length
 */
export function labeledExpand(suite, key, label, info, length) {
  return hkdfExpand(key, concat(u16(length), LABEL, suite, utf8(label), info), length);
}

/**
 * RFC 9180's DeriveKeyPair for this KEM, the private half only.
 * @param {Uint8Array} ikm
 * @returns {Promise<Bytes>}
 */
export async function deriveSecret(ikm) {
  return labeledExpand(KEM, await labeledExtract(KEM, NONE, 'dkp_prk', ikm), 'sk', NONE, 32);
}

/**
 * X25519; refuses an agreement that is no secret.
 * @param {CryptoKey} secret
 * @param {Uint8Array} publicKey 32 bytes
 * @returns {Promise<Bytes>}
 */
export async function agree(secret, publicKey) {
  if (publicKey.length !== 32) throw new TypeError('an X25519 key has 32 bytes');
  const other = await crypto.subtle.importKey('raw', concat(publicKey), 'X25519', false, []);
  const bits = await crypto.subtle.deriveBits({ name: 'X25519', public: other }, secret, 256);
  const shared = new Uint8Array(bits);
  if (shared.every((byte) => byte === 0)) throw new TypeError('a key of small order');
  return shared;
}

/**
 * @param {CryptoKey} secret the ephemeral key of the sender, or the recipient's key
 * @param {Uint8Array} other
 * @param {Uint8Array} enc the ephemeral public key
 * @param {Uint8Array} recipient the recipient's public key
 * @param {Uint8Array} info
 * @returns {Promise<[CryptoKey, Bytes]>} the key and nonce of the one message
 */
async function schedule(secret, other, enc, recipient, info) {
  const dh = await agree(secret, other);
  const prk = await labeledExtract(KEM, NONE, 'eae_prk', dh);
  const shared = await labeledExpand(KEM, prk, 'shared_secret', concat(enc, recipient), 32);
  const pskId = await labeledExtract(SUITE, NONE, 'psk_id_hash', NONE);
  const infoHash = await labeledExtract(SUITE, NONE, 'info_hash', info);
  const context = concat(MODE_BASE, pskId, infoHash);
  const base = await labeledExtract(SUITE, shared, 'secret', NONE);
  const raw = await labeledExpand(SUITE, base, 'key', context, 16);
  const key = await crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt']);
  return [key, await labeledExpand(SUITE, base, 'base_nonce', context, 12)];
}

/**
 * @param {Uint8Array} recipient 32 bytes
 * @param {Uint8Array} info
 * @param {Uint8Array} aad
 * @param {Uint8Array} plaintext
 * @param {CryptoKeyPair} [ephemeral] for test vectors
 * @returns {Promise<Bytes>} enc and ciphertext
 */
export async function seal(recipient, info, aad, plaintext, ephemeral) {
  const pair = ephemeral ?? /** @type {CryptoKeyPair} */ (await crypto.subtle.generateKey('X25519', false, ['deriveBits']));
  const enc = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
  const [key, iv] = await schedule(pair.privateKey, recipient, enc, recipient, info);
  const parameters = { name: 'AES-GCM', iv, additionalData: concat(aad) };
  return concat(enc, new Uint8Array(await crypto.subtle.encrypt(parameters, key, concat(plaintext))));
}

/**
 * @param {SealKey} own
 * @param {Uint8Array} info
 * @param {Uint8Array} aad
 * @param {Uint8Array} sealed enc and ciphertext
 * @returns {Promise<Bytes>} throws when it does not open
 */
export async function open(own, info, aad, sealed) {
  const enc = sealed.slice(0, 32);
  const [key, iv] = await schedule(own.secret, enc, enc, own.publicKey, info);
  const parameters = { name: 'AES-GCM', iv, additionalData: concat(aad) };
  return new Uint8Array(await crypto.subtle.decrypt(parameters, key, sealed.slice(32)));
}

/**
 * A device's X25519 key; the private half stays in WebCrypto.
 * @typedef {{secret: CryptoKey, publicKey: Bytes}} SealKey
 */

/**
 * @returns {Promise<SealKey>} a new key that cannot be taken out of this browser
 */
export async function generateSealKey() {
  const pair = /** @type {CryptoKeyPair} */ (await crypto.subtle.generateKey('X25519', false, ['deriveBits']));
  const publicKey = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
  return { secret: pair.privateKey, publicKey };
}
