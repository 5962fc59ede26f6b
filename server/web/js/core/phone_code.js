// The phone code: eight digits for a host that no network reaches, from the challenge that its QR code holds.

import { concat, decimal, equal, fromUtf8, hmac, utf8 } from './bytes.js';
import { agree, hkdf } from './hpke.js';
import { Reader } from './wire.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

/** Longest challenge. */
const MAX_CHALLENGE = 106;
const VERSION = 1;
const DIGITS = 8;
const LABEL = utf8('countersign phone code v1');
const LABEL_REQUEST = utf8('countersign request code v1');

/**
 * @typedef {object} PhoneChallenge
 * @property {Bytes} bytes all of it
 * @property {Bytes} host first 16 bytes of SHA-256 of the host's key
 * @property {Bytes} replyKey
 * @property {number} issuedAt seconds since 1970
 * @property {number} ttl seconds
 * @property {string} service
 * @property {string} user
 * @property {string} address empty when local
 */

/**
 * @param {Uint8Array} bytes
 * @returns {PhoneChallenge} throws when it is none
 */
export function readChallenge(bytes) {
  if (bytes.length > MAX_CHALLENGE) throw new TypeError('too long');
  const reader = new Reader(bytes);
  if (reader.u8() !== VERSION) throw new TypeError('another version');
  const [host, replyKey, issuedAt, ttl] = [reader.take(16), reader.take(32), reader.u32(), reader.u8()];
  const text = () => fromUtf8(reader.take(reader.u8()));
  const [service, user, address] = [text(), text(), text()];
  reader.end();
  if (service === '' || user === '') throw new TypeError('no service or user');
  return { bytes: concat(bytes), host, replyKey, issuedAt, ttl, service, user, address };
}

/**
 * @param {PhoneChallenge} challenge
 * @param {Uint8Array} hostHash SHA-256 of the pinned host's key
 */
export function isOf(challenge, hostHash) {
  return equal(challenge.host, hostHash.slice(0, 16));
}

/**
 * @param {CryptoKey} secret the device's X25519 key
 * @param {Uint8Array} cardHash
 * @param {Uint8Array} hostHash
 * @param {PhoneChallenge} challenge
 * @returns {Promise<string>} eight digits
 */
export async function phoneCode(secret, cardHash, hostHash, challenge) {
  if (!isOf(challenge, hostHash)) throw new TypeError("another host's challenge");
  return digitsOf(secret, challenge.replyKey, concat(LABEL, cardHash, hostHash), challenge.bytes);
}

/**
 * The code of a request that was approved and cannot be answered.
 * @param {CryptoKey} secret the device's X25519 key
 * @param {Uint8Array} cardHash
 * @param {Uint8Array} hostHash
 * @param {Uint8Array} replyKey the request's
 * @param {string} digest SHA-256 of the request's bytes in hex
 * @returns {Promise<string>} eight digits
 */
export async function requestCode(secret, cardHash, hostHash, replyKey, digest) {
  return digitsOf(secret, replyKey, concat(LABEL_REQUEST, cardHash, hostHash), utf8(digest));
}

/** @param {CryptoKey} secret @param {Uint8Array} replyKey @param {Uint8Array} info @param {Uint8Array} about */
async function digitsOf(secret, replyKey, info, about) {
  const key = await hkdf(await agree(secret, replyKey), info, 32);
  return decimal((await hmac(key, about)).slice(0, 8), DIGITS);
}
