// Shapes of JSON that comes from outside: every field is checked and bounded, unknown ones are left out.

import { byteLength, fromUtf8, isHex, isKeyId } from './bytes.js';

/** Version of every message. */
export const VERSION = 1;

/** @typedef {(value: unknown) => any} Check gives the value, or throws */

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
export function isRecord(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * @param {Uint8Array} bytes
 * @returns {unknown} JSON of valid UTF-8 without lone surrogates; throws on anything else
 */
export function parseJson(bytes) {
  return JSON.parse(fromUtf8(bytes));
}

/** @param {string} what @returns {never} */
function bad(what) {
  throw new TypeError(`the message's ${what}`);
}

/**
 * A text of `min` to `max` bytes of UTF-8.
 * @param {number} max
 * @param {number} [min]
 * @returns {Check}
 */
export function text(max, min = 0) {
  return (value) => {
    if (typeof value !== 'string' || /\p{Surrogate}/u.test(value)) return bad('text is none');
    const length = byteLength(value);
    return length >= min && length <= max ? value : bad('text is empty or too long');
  };
}

/**
 * @param {number} max
 * @param {number} [min]
 * @returns {Check}
 */
export function whole(max = Number.MAX_SAFE_INTEGER, min = 0) {
  return (value) =>
    Number.isSafeInteger(value) && /** @type {number} */ (value) >= min && /** @type {number} */ (value) <= max
      ? value
      : bad('number is out of range');
}

/**
 * @param {...unknown} values
 * @returns {Check}
 */
export function oneOf(...values) {
  return (value) => (values.includes(value) ? value : bad('word is unknown'));
}

/**
 * @param {number} digits
 * @returns {Check}
 */
export function hexOf(digits) {
  return (value) => (isHex(value, digits) ? value : bad('hex has another length'));
}

/** @type {Check} */
export const keyId = (value) => (isKeyId(value) ? value : bad('key id is none'));

/**
 * @param {Check} item
 * @param {number} max
 * @param {number} [min]
 * @returns {Check}
 */
export function listOf(item, max, min = 0) {
  return (value) =>
    Array.isArray(value) && value.length >= min && value.length <= max ? value.map(item) : bad('list is too long');
}

/**
 * An object with these fields; further ones are those of a later version, and left out.
 * @param {Record<string, Check>} required
 * @param {Record<string, Check>} [optional]
 * @returns {Check}
 */
export function object(required, optional = {}) {
  return (value) => {
    if (!isRecord(value)) return bad('object is none');
    /** @type {Record<string, unknown>} */
    const out = {};
    for (const [name, check] of Object.entries(required)) {
      if (!Object.hasOwn(value, name)) bad(`${name} is missing`);
      out[name] = check(value[name]);
    }
    for (const [name, check] of Object.entries(optional)) {
      if (Object.hasOwn(value, name) && value[name] !== null) out[name] = check(value[name]);
    }
    return out;
  };
}
