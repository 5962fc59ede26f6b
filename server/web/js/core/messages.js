// The signed messages. What is signed are the bytes as sent: verified first, parsed after.

import { fromBase64, hex, sha256, utf8 } from './bytes.js';
import * as check from './check.js';
import { PublicKey, sameKey } from './keys.js';
import { MAX_LIST } from './list.js';
import { MAX_BODY } from './seal.js';
import * as sshsig from './sshsig.js';

/** @typedef {import('./keys.js').SigningKey} SigningKey */
/** @typedef {import('./seal.js').MessageType} MessageType */
/** @typedef {import('../engine/types.js').Request} Request */
/** @typedef {import('../engine/types.js').Outcome} Outcome */
/** @typedef {{version: number, id: string, request: string, outcome: Outcome, closed_at: number}} Closed */
/** @typedef {{version: number, host: {name: string, key: string}, user: string, card: string, paired_at: number}} Receipt */
/** @typedef {{id: string, name: string, paired_at: number, last_used_at?: number}} NoticeDevice */
/**
 * @typedef {object} Notice
 * @property {number} version
 * @property {string} id
 * @property {string} user
 * @property {string} reply_key
 * @property {{what: 'paired'|'removed', device: string, name: string}} [event]
 * @property {NoticeDevice[]} devices
 * @property {number} [more]
 * @property {number} issued_at
 */
/** @typedef {{request: Request, closed: Closed, receipt: Receipt, notice: Notice}} Messages */

/** Longest validity of a request in seconds. */
export const MAX_EXPIRES_IN = 600;
/** Digits of the code that a phone shows after approving. */
export const CODE_DIGITS = 6;
/** Longest name of a device in bytes. */
export const MAX_DEVICE_NAME = 64;
const MAX_NAME = 256;
const MAX_FIELD = 256;
const MAX_COMMAND = 1024;
const MAX_DETAIL = 300;
const MAX_PEOPLE = 16;
const MAX_LEASE = 8 * 3600;
/** City and country, in bytes. */
const MAX_PLACE = 96;
const MAX_ZONE = 64;
/** Furthest that a time zone is from UTC, in minutes. */
const MAX_OFFSET = 18 * 60;
const MAX_LEASE_USES = 1000;
/** More than fit into a message. */
const MAX_DEVICES = 64;
const MAX_KEY_LINE = 512;
/** The end of the year 9999: what comes later no calendar of a browser writes. */
const MAX_SECONDS = 253_402_300_799;

/** @type {check.Check} */
export const x25519 = (value) => {
  const bytes = typeof value === 'string' ? fromBase64(value) : new Uint8Array(0);
  if (bytes.length !== 32 || bytes.every((byte) => byte === 0)) throw new TypeError('not an X25519 key');
  return value;
};

/** @type {check.Check} */
const aes128 = (value) => {
  if (typeof value !== 'string' || fromBase64(value).length !== 16) throw new TypeError('not an AES-128 key');
  return value;
};

const version = check.oneOf(check.VERSION);
const name = check.text(MAX_NAME, 1);
/** Seconds since 1970. */
const time = check.whole(MAX_SECONDS);
const host = check.object({ name, key: check.text(MAX_KEY_LINE, 1) });

/** @type {{[T in keyof Messages]: check.Check}} */
const SHAPES = {
  request: check.object(
    {
      version,
      id: check.hexOf(32),
      reply_key: x25519,
      host,
      user: name,
      uid: check.whole(0xffffffff),
      service: name,
      kind: check.oneOf('login', 'command', 'unlock', 'action', 'test'),
      issued_at: time,
      expires_in: check.whole(MAX_EXPIRES_IN, 1),
      confirm: check.oneOf('code', 'tap'),
      approvals: check.object({ needed: check.whole(255, 1), from: check.listOf(name, MAX_PEOPLE, 1) }),
    },
    {
      requester: check.text(MAX_NAME),
      command: check.text(MAX_COMMAND),
      action: check.text(MAX_FIELD),
      detail: check.text(MAX_DETAIL),
      list: check.object({
        sha256: check.hexOf(64),
        bytes: check.whole(MAX_LIST, 1),
        lines: check.whole(MAX_LIST, 1),
        key: aes128,
      }),
      terminal: check.text(MAX_NAME),
      remote: check.object(
        { address: check.text(MAX_FIELD), source: check.oneOf('kernel', 'pam', 'none') },
        { port: check.whole(0xffff) },
      ),
      ssh_key: check.object({ fingerprint: check.text(MAX_FIELD), type: check.text(MAX_FIELD) }),
      context: check.object(
        {},
        {
          new_source: check.oneOf(true, false),
          place: check.object({ text: check.text(MAX_PLACE), source: check.oneOf('geoip') }),
          zone: check.object({ offset: check.whole(MAX_OFFSET, -MAX_OFFSET) }, { name: check.text(MAX_ZONE) }),
        },
      ),
      lease_max: check.whole(MAX_LEASE),
      lease_uses: check.whole(MAX_LEASE_USES, 1),
    },
  ),
  closed: check.object({
    version,
    id: check.hexOf(32),
    request: check.hexOf(64),
    outcome: check.oneOf('approved', 'denied', 'reported', 'expired', 'withdrawn', 'failed', 'replaced', 'otherwise'),
    closed_at: time,
  }),
  receipt: check.object({ version, host, user: name, card: check.hexOf(64), paired_at: time }),
  notice: check.object(
    {
      version,
      id: check.hexOf(32),
      user: name,
      reply_key: x25519,
      devices: check.listOf(
        check.object(
          { id: check.keyId, name: check.text(MAX_DEVICE_NAME), paired_at: time },
          { last_used_at: time },
        ),
        MAX_DEVICES,
      ),
      issued_at: time,
    },
    {
      event: check.object({
        what: check.oneOf('paired', 'removed'),
        device: check.keyId,
        name: check.text(MAX_DEVICE_NAME),
      }),
      more: check.whole(0xffffffff),
    },
  ),
};

/** The message is not signed by whom it should be. */
export class BadSignature extends Error {}

/**
 * Verifies, and only then parses and checks.
 * @template {keyof Messages} T
 * @param {T} type
 * @param {Uint8Array} body
 * @param {string} signature
 * @param {PublicKey} signer
 * @returns {Promise<Messages[T]>} throws `BadSignature`, or another error on an unusable message
 */
export async function verifyMessage(type, body, signature, signer) {
  if (body.length > MAX_BODY) throw new TypeError('the message is too long');
  /** @type {PublicKey} */
  let by;
  try {
    by = await sshsig.verify(signature, sshsig.NAMESPACE[type], body);
  } catch (error) {
    throw new BadSignature(String(error));
  }
  if (!sameKey(by, signer)) throw new BadSignature('signed by another key');
  const message = SHAPES[type](check.parseJson(body));
  if ('host' in message) await PublicKey.fromLine(message.host.key);
  return message;
}

/**
 * Signs a message of this device.
 * @param {SigningKey} key
 * @param {'decision'|'removal'} type
 * @param {object} message
 * @returns {Promise<{body: import('./bytes.js').Bytes, signature: string}>}
 */
export async function signMessage(key, type, message) {
  const body = utf8(JSON.stringify(message));
  return { body, signature: await sshsig.sign(key, sshsig.NAMESPACE[type], body) };
}

/**
 * @param {string} user
 * @returns {Promise<string>} the id of all notices of a host about that user
 */
export async function noticeId(user) {
  return hex((await sha256(utf8(`countersign notice v1${user}`))).slice(0, 16));
}

/**
 * @param {Uint8Array} body
 * @returns {Promise<string>} what decisions name a request by
 */
export async function digest(body) {
  return hex(await sha256(body));
}

