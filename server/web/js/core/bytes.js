// Bytes and their text forms. Every decoder takes one spelling only: no spaces, no second padding.

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const BASE64URL = /^[A-Za-z0-9_-]*$/;
/** `String.fromCharCode` takes its bytes as arguments, and not too many of them. */
const CHUNK = 8192;

/** Bytes of an ordinary buffer: what WebCrypto takes. @typedef {Uint8Array<ArrayBuffer>} Bytes */

/**
 * @param {string} text
 * @returns {Bytes}
 */
export function utf8(text) {
  return encoder.encode(text);
}

/**
 * @param {Uint8Array} bytes
 * @returns {string} throws when they are no UTF-8
 */
export function fromUtf8(bytes) {
  return decoder.decode(bytes);
}

/**
 * @param {...Uint8Array} parts
 * @returns {Bytes}
 */
export function concat(...parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/**
 * @param {Uint8Array} bytes
 * @returns {string} lower-case hex
 */
export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * @param {string} text
 * @returns {Bytes} throws when it is not lower-case hex
 */
export function fromHex(text) {
  if (!isHex(text, text.length) || text.length % 2 !== 0) throw new TypeError('not hex');
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

/**
 * @param {unknown} value
 * @param {number} digits
 * @returns {value is string} whether it is exactly so many lower-case hex digits
 */
export function isHex(value, digits) {
  return typeof value === 'string' && value.length === digits && /^[0-9a-f]*$/.test(value);
}

/**
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function base64(bytes) {
  let binary = '';
  for (let at = 0; at < bytes.length; at += CHUNK) {
    binary += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  }
  return btoa(binary);
}

/**
 * @param {string} text with padding
 * @returns {Bytes} throws on anything but the one spelling of some bytes
 */
export function fromBase64(text) {
  if (!BASE64.test(text)) throw new TypeError('not base64');
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  if (text.endsWith('=') && base64(bytes.slice(-(bytes.length % 3))) !== text.slice(-4)) {
    throw new TypeError('base64 with spare bits');
  }
  return bytes;
}

/**
 * @param {Uint8Array} bytes
 * @returns {string} without padding
 */
export function base64url(bytes) {
  return base64(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/**
 * @param {string} text without padding
 * @returns {Bytes} throws on anything but the one spelling of some bytes
 */
export function fromBase64url(text) {
  if (!BASE64URL.test(text)) throw new TypeError('not base64url');
  const padded = text + '='.repeat((4 - (text.length % 4)) % 4);
  return fromBase64(padded.replaceAll('-', '+').replaceAll('_', '/'));
}

/**
 * @param {unknown} value
 * @returns {value is string} whether it has the shape of a key id
 */
export function isKeyId(value) {
  if (typeof value !== 'string' || value.length !== 43) return false;
  try {
    return fromBase64url(value).length === 32;
  } catch {
    return false;
  }
}

/**
 * Compares without telling by its time where the first difference is.
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 */
export function equal(a, b) {
  if (a.length !== b.length) return false;
  let differs = 0;
  for (let i = 0; i < a.length; i++) differs |= /** @type {number} */ (a[i]) ^ /** @type {number} */ (b[i]);
  return differs === 0;
}

/**
 * @param {string} text
 * @returns {number} its length in UTF-8
 */
export function byteLength(text) {
  return utf8(text).length;
}

/**
 * The longest start of a text that has at most `max` bytes and whole characters.
 * @param {string} text
 * @param {number} max
 */
export function clip(text, max) {
  let out = '';
  let left = max;
  for (const character of text) {
    left -= byteLength(character);
    if (left < 0) break;
    out += character;
  }
  return out;
}

/**
 * @param {number} length
 * @returns {Bytes}
 */
export function random(length) {
  return crypto.getRandomValues(new Uint8Array(length));
}

/**
 * @param {number} length
 * @returns {string} decimal digits, each as likely as the others
 */
export function randomDigits(length) {
  let out = '';
  while (out.length < length) {
    const [byte = 255] = random(1);
    if (byte < 250) out += byte % 10;
  }
  return out;
}

/**
 * @param {Uint8Array} bytes
 * @returns {Promise<Bytes>}
 */
export async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', concat(bytes)));
}

/**
 * @param {Uint8Array} bytes
 * @returns {Promise<Bytes>}
 */
export async function sha512(bytes) {
  return new Uint8Array(await crypto.subtle.digest('SHA-512', concat(bytes)));
}

/**
 * @param {Uint8Array} key not empty
 * @param {...Uint8Array} parts
 * @returns {Promise<Bytes>} HMAC-SHA256
 */
export async function hmac(key, ...parts) {
  const imported = await crypto.subtle.importKey('raw', concat(key), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, concat(...parts)));
}

/**
 * The first eight bytes as a number, modulo a power of ten, with leading zeros.
 * @param {Uint8Array} bytes
 * @param {number} digits
 */
export function decimal(bytes, digits) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return (view.getBigUint64(0) % 10n ** BigInt(digits)).toString().padStart(digits, '0');
}
