// This device: its keys, which no script can read, its card, and what it signs.

import { fromBase64, fromBase64url, randomDigits, sha256, utf8 } from '../core/bytes.js';
import { signCard, verifyCard } from '../core/card.js';
import { VERSION } from '../core/check.js';
import { generateSealKey } from '../core/hpke.js';
import { PublicKey, SigningKey } from '../core/keys.js';
import { CODE_DIGITS, signMessage } from '../core/messages.js';
import { requestCode } from '../core/phone_code.js';
import { seal } from '../core/seal.js';

/** @typedef {import('../core/bytes.js').Bytes} Bytes */
/** @typedef {import('../core/card.js').SignedCard} SignedCard */
/** @typedef {import('./types.js').Answer} Answer */
/** @typedef {import('./types.js').Sealed} Sealed */

/**
 * As it lies in the database.
 * @typedef {object} DeviceRecord
 * @property {string} line its public key
 * @property {CryptoKey} secret
 * @property {import('../core/hpke.js').SealKey} sealKey
 * @property {SignedCard} card
 * @property {Bytes[]} cardHashes of its cards, the current one first
 * @property {boolean} isCardPut whether the server has the current card
 * @property {number} serial
 * @property {string} name
 * @property {number} createdAt ms since 1970
 * @property {boolean} persisted
 */

/** @typedef {DeviceRecord & {id: string, key: SigningKey}} Device */

/** Cards that messages on their way may still be sealed to. */
const KEPT_CARDS = 4;

/**
 * @param {string} name
 * @param {number} now
 * @param {boolean} persisted
 * @returns {Promise<DeviceRecord>} a new device
 */
export async function createDevice(name, now, persisted) {
  const [key, sealKey] = [await SigningKey.generate(), await generateSealKey()];
  const card = await signCard(key, sealKey.publicKey, 1, name);
  return {
    line: key.publicKey.line,
    secret: key.secret,
    sealKey,
    card,
    cardHashes: [await sha256(utf8(card.card))],
    isCardPut: false,
    serial: 1,
    name,
    createdAt: now,
    persisted,
  };
}

/**
 * @param {DeviceRecord} record
 * @returns {Promise<Device>} throws when its parts do not belong together
 */
export async function loadDevice(record) {
  const publicKey = await PublicKey.fromLine(record.line);
  const { key } = await verifyCard(record.card);
  if (key.id !== publicKey.id) throw new TypeError("the card is another key's");
  return { ...record, id: publicKey.id, key: new SigningKey(publicKey, record.secret) };
}

/**
 * @param {Device} device
 * @param {string} name
 * @returns {Promise<Partial<DeviceRecord>>} what changes with a new name: a card of a higher serial
 */
export async function renamed(device, name) {
  const serial = device.serial + 1;
  const card = await signCard(device.key, device.sealKey.publicKey, serial, name);
  const cardHashes = [await sha256(utf8(card.card)), ...device.cardHashes].slice(0, KEPT_CARDS);
  return { name, serial, card, cardHashes, isCardPut: false };
}

/**
 * A decision, signed and sealed for the host.
 * @param {Device} device
 * @param {{request: import('./types.js').Request, digest: string, machine: string, clockApart?: number}} item
 * @param {{answer: Answer, lease?: number, counter: number, now: number}} what
 * @returns {Promise<{sealed: Sealed, code?: string, leaseUntil?: number}>}
 */
export async function makeDecision(device, { request, digest, machine, clockApart }, { answer, lease, counter, now }) {
  const seconds = Math.floor(now / 1000);
  const code = answer === 'approve' && request.confirm === 'code' ? randomDigits(CODE_DIGITS) : undefined;
  const leaseFor = answer === 'approve' ? Math.min(lease ?? 0, request.lease_max ?? 0) : 0;
  const hostNow = seconds + (clockApart ?? 0);
  const message = await signMessage(device.key, 'decision', {
    version: VERSION,
    request: digest,
    decision: answer,
    ...(code && { code }),
    ...(leaseFor > 0 && { lease: { until: hostNow + leaseFor, scope: request.service } }),
    decided_at: seconds,
    counter,
  });
  const about = { type: /** @type {const} */ ('decision'), to: machine, id: request.id };
  const sealed = await toReplyKey(device, request.reply_key, about, message);
  return { sealed, ...(code && { code }), ...(leaseFor > 0 && { leaseUntil: now + leaseFor * 1000 }) };
}

/**
 * Eight digits for an approval that cannot be sent.
 * @param {Device} device
 * @param {{request: import('./types.js').Request, digest: string, machine: string}} item
 * @param {Bytes|undefined} card the one that the machine knows
 * @returns {Promise<string|undefined>}
 */
export async function unsentCode(device, { request, digest, machine }, card) {
  if (!card) return undefined;
  return requestCode(device.sealKey.secret, card, fromBase64url(machine), fromBase64(request.reply_key), digest);
}

/**
 * Takes a device from a user's devices, in answer to the machine's last notice.
 * @param {Device} device
 * @param {{machine: string, notice: string, digest: string, replyKey: string}} notice
 * @param {{device: string, counter: number, now: number}} what
 * @returns {Promise<Sealed>}
 */
export async function makeRemoval(device, notice, what) {
  const message = await signMessage(device.key, 'removal', {
    version: VERSION,
    notice: notice.digest,
    device: what.device,
    decided_at: Math.floor(what.now / 1000),
    counter: what.counter,
  });
  const about = { type: /** @type {const} */ ('removal'), to: notice.machine, id: notice.notice };
  return toReplyKey(device, notice.replyKey, about, message);
}

/**
 * @param {Device} device
 * @param {string} replyKey base64
 * @param {{type: 'decision'|'removal', to: string, id: string}} about
 * @param {{body: Bytes, signature: string}} message
 */
async function toReplyKey(device, replyKey, about, message) {
  const key = fromBase64(replyKey);
  return seal(device.key.publicKey, { key, hash: await sha256(key) }, about, message);
}
