// What a pairing begins with: the link (or QR code), or its secret typed in.

import { fromBase64url, hex, isKeyId, utf8 } from './bytes.js';
import { Fault } from './fault.js';
import { hkdf } from './hpke.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */

const MAX_LINK = 1024;
const MARK = '/pair#';
const VERSION = '1';
/** Bytes of the secret T. */
const SECRET = 16;
/** Characters of it when typed. */
const TYPED = 26;
const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';
/** How typed characters may be mistaken. @type {Record<string, string>} */
const FOLDED = { o: '0', i: '1', l: '1' };
const ORIGIN = /^https?:\/\/(?:[a-z0-9.-]{1,253}|\[[0-9a-f:]+\])(?::[1-9][0-9]{0,4})?$/;

/**
 * @typedef {object} Ticket
 * @property {string} [server] origin; none in a typed one
 * @property {Bytes} secret T
 * @property {Bytes} [host] SHA-256 of the host's key; none in a typed one
 */

/**
 * What both sides compute from T.
 * @typedef {{mailbox: Bytes, card: Bytes, reveal: Bytes}} Secrets
 */

/**
 * @param {string} text a link as shown or scanned, or a typed ticket
 * @returns {Ticket} throws a Fault
 */
export function parseTicket(text) {
  const trimmed = text.trim();
  if (trimmed.length > MAX_LINK) throw new Fault('bad-link');
  return trimmed.includes('#') || trimmed.includes('/') ? parseLink(trimmed) : parseTyped(trimmed);
}

/** @param {string} link */
function parseLink(link) {
  const at = link.indexOf(MARK);
  if (at < 0) throw new Fault('bad-link');
  const [version, secret, host, ...rest] = link.slice(at + MARK.length).split('.');
  if (version !== VERSION) throw new Fault('link-version');
  // Where the link leads: the server, unless that is named by itself.
  const app = link.slice(0, at);
  const server = rest.length > 0 ? rest.join('.') : app;
  if (!isOrigin(app) || !isOrigin(server) || !isKeyId(host)) throw new Fault('bad-link');
  const bytes = decode(secret ?? '');
  return { server, secret: bytes, host: fromBase64url(host) };
}

/** @param {string} text */
function isOrigin(text) {
  if (!ORIGIN.test(text)) return false;
  try {
    // Not every port and address of that shape is one.
    new URL(text);
    return true;
  } catch {
    return false;
  }
}

/** @param {string} text */
function decode(text) {
  try {
    const bytes = fromBase64url(text);
    if (bytes.length === SECRET) return bytes;
  } catch {
    // Said below.
  }
  throw new Fault('bad-link');
}

/** @param {string} text */
function parseTyped(text) {
  const characters = [...text.toLowerCase().replace(/[\s-]/g, '')];
  if (characters.length !== TYPED) throw new Fault('bad-link');
  let number = 0n;
  for (const character of characters) {
    const value = CROCKFORD.indexOf(FOLDED[character] ?? character);
    if (value < 0) throw new Fault('bad-link');
    number = (number << 5n) | BigInt(value);
  }
  // 26 characters carry two bits more than the secret has.
  if (number & 3n) throw new Fault('bad-link');
  const digits = (number >> 2n).toString(16).padStart(2 * SECRET, '0');
  return { secret: Uint8Array.from({ length: SECRET }, (_, i) => parseInt(digits.slice(2 * i, 2 * i + 2), 16)) };
}

/**
 * @param {Uint8Array} t
 * @returns {Promise<Secrets>}
 */
export async function derive(t) {
  const part = (/** @type {string} */ info) => hkdf(t, utf8(info), SECRET);
  const [mailbox, card, reveal] = await Promise.all([part('mailbox'), part('card'), part('reveal')]);
  return { mailbox, card, reveal };
}

/**
 * @param {Secrets} secrets
 * @returns {string} the mailbox's id
 */
export function mailboxId(secrets) {
  return hex(secrets.mailbox);
}
