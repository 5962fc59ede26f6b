// Sealed messages: bound to their type, sender, recipient and envelope; all plaintexts have one length.
// The seal hides; who sent a message is proven by the signature inside (messages.js).

import { base64, byteLength, concat, fromBase64, fromUtf8, isHex, isKeyId, utf8 } from './bytes.js';
import { isRecord, VERSION } from './check.js';
import * as hpke from './hpke.js';
import { Reader, u16 } from './wire.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./keys.js').PublicKey} PublicKey */
/** @typedef {import('../engine/types.js').Sealed} Sealed */
/** @typedef {'request'|'closed'|'decision'|'receipt'|'notice'|'removal'} MessageType */
/** @typedef {{version: number, type: MessageType, from: string, to: string, id: string}} Envelope */

const LABEL = utf8('countersign message v1');
const TYPES = ['request', 'closed', 'decision', 'receipt', 'notice', 'removal'];
const FIELDS = ['version', 'type', 'from', 'to', 'id'];
/** Longest signed body of a message. */
export const MAX_BODY = 2048;
/** Longest envelope. */
const MAX_ENVELOPE = 512;
/** Length of every plaintext. */
const PADDED = 3072;
/** Bytes of HPKE's key, the ciphertext and its tag. */
export const SEALED_BYTES = 32 + PADDED + 16;
const SEALED_TEXT = Math.ceil(SEALED_BYTES / 3) * 4;

/**
 * Reads the envelope: what the relay may know, and nothing that is proven yet.
 * @param {Sealed} sealed
 * @returns {Envelope}
 */
export function peek(sealed) {
  if (typeof sealed.envelope !== 'string' || byteLength(sealed.envelope) > MAX_ENVELOPE) {
    throw new TypeError('not an envelope');
  }
  if (typeof sealed.sealed !== 'string' || sealed.sealed.length !== SEALED_TEXT) {
    throw new TypeError('not of the one length');
  }
  const envelope = JSON.parse(sealed.envelope);
  const sound =
    isRecord(envelope) &&
    Object.keys(envelope).length === FIELDS.length &&
    FIELDS.every((name) => Object.hasOwn(envelope, name)) &&
    envelope.version === VERSION &&
    TYPES.includes(/** @type {string} */ (envelope.type)) &&
    isKeyId(envelope.from) &&
    isKeyId(envelope.to) &&
    isHex(envelope.id, 32);
  if (!sound) throw new TypeError('not an envelope');
  return /** @type {Envelope} */ (/** @type {unknown} */ (envelope));
}

/**
 * @param {MessageType} type
 * @param {PublicKey} sender
 * @param {Uint8Array} recipientHash
 */
export function sealInfo(type, sender, recipientHash) {
  return concat(LABEL, utf8(type), sender.hash, recipientHash);
}

/**
 * Seals a signed message.
 * @param {PublicKey} sender
 * @param {{key: Uint8Array, hash: Uint8Array}} recipient X25519 key, and SHA-256 of the card or the reply key
 * @param {{type: MessageType, to: string, id: string}} about
 * @param {{body: Uint8Array, signature: string}} message
 * @param {CryptoKeyPair} [ephemeral] for test vectors
 * @returns {Promise<Sealed>}
 */
export async function seal(sender, recipient, about, message, ephemeral) {
  const { type, to, id } = about;
  const envelope = JSON.stringify({ version: VERSION, type, from: sender.id, to, id });
  const info = sealInfo(type, sender, recipient.hash);
  const plaintext = pad(message.body, utf8(message.signature));
  const bytes = await hpke.seal(recipient.key, info, utf8(envelope), plaintext, ephemeral);
  return { envelope, sealed: base64(bytes) };
}

/**
 * Opens a message of `sender`: bound by the seal, proven only by the signature inside.
 * @param {hpke.SealKey} own
 * @param {Uint8Array} recipientHash
 * @param {PublicKey} sender
 * @param {Sealed} sealed
 * @returns {Promise<{envelope: Envelope, body: Bytes, signature: string}>}
 */
export async function open(own, recipientHash, sender, sealed) {
  const envelope = peek(sealed);
  if (envelope.from !== sender.id) throw new TypeError('the envelope names another sender');
  const info = sealInfo(envelope.type, sender, recipientHash);
  const plaintext = await hpke.open(own, info, utf8(sealed.envelope), fromBase64(sealed.sealed));
  return { envelope, ...unpad(plaintext) };
}

/**
 * `u16 length ‖ body ‖ u16 length ‖ signature ‖ zeros`.
 * @param {Uint8Array} body
 * @param {Uint8Array} signature
 */
function pad(body, signature) {
  const head = concat(u16(body.length), body, u16(signature.length), signature);
  if (body.length > MAX_BODY || head.length > PADDED) throw new TypeError('too long to be sealed');
  return concat(head, new Uint8Array(PADDED - head.length));
}

/** @param {Uint8Array} plaintext */
function unpad(plaintext) {
  if (plaintext.length !== PADDED) throw new TypeError('not of the one length');
  const reader = new Reader(plaintext);
  const body = reader.take(reader.u16());
  const signature = fromUtf8(reader.take(reader.u16()));
  if (body.length > MAX_BODY || reader.rest().some((byte) => byte !== 0)) throw new TypeError('badly padded');
  return { body, signature };
}
