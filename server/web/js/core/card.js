// A device's card: its public keys and name, signed by itself. Serials only rise.

import { base64, byteLength, fromBase64, sha256, utf8 } from './bytes.js';
import * as check from './check.js';
import { PublicKey, sameKey } from './keys.js';
import { MAX_DEVICE_NAME, x25519 } from './messages.js';
import * as sshsig from './sshsig.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {{version: number, key: string, seal: string, serial: number, name: string}} Card */
/** @typedef {{card: string, signature: string}} SignedCard JSON text as signed, armored signature */

const MAX_CARD = 1024;

const SHAPE = check.object({
  version: check.oneOf(check.VERSION),
  key: check.text(MAX_CARD),
  seal: x25519,
  serial: check.whole(),
  name: check.text(MAX_DEVICE_NAME),
});

/**
 * @param {import('./keys.js').SigningKey} key
 * @param {Uint8Array} seal
 * @param {number} serial
 * @param {string} name
 * @returns {Promise<SignedCard>}
 */
export async function signCard(key, seal, serial, name) {
  const card = JSON.stringify({
    version: check.VERSION,
    key: key.publicKey.line,
    seal: base64(seal),
    serial,
    name: check.text(MAX_DEVICE_NAME)(name),
  });
  return { card, signature: await sshsig.sign(key, sshsig.NAMESPACE.card, utf8(card)) };
}

/**
 * @param {SignedCard} signed
 * @returns {Promise<{card: Card, hash: Bytes, key: PublicKey, seal: Bytes}>}
 */
export async function verifyCard(signed) {
  if (byteLength(signed.card) > MAX_CARD) throw new TypeError('the device card is too long');
  const bytes = utf8(signed.card);
  const by = await sshsig.verify(signed.signature, sshsig.NAMESPACE.card, bytes);
  /** @type {Card} */
  const card = SHAPE(check.parseJson(bytes));
  const key = await PublicKey.fromLine(card.key);
  if (!sameKey(by, key)) throw new TypeError('the device card is signed by another key');
  return { card, hash: await sha256(bytes), key, seal: fromBase64(card.seal) };
}
