// The list of an action, which travels beside its request: opened, and found to be what the host has signed.

import { concat, fromBase64, fromUtf8, hex, sha256, utf8 } from './bytes.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {{sha256: string, bytes: number, lines: number, key: string}} List */

/** Longest list in bytes. */
export const MAX_LIST = 262_144;
const STEP = 16_384;
const NONCE = 12;
const TAG = 16;
/** Longest encrypted list in bytes. */
export const MAX_SEALED = NONCE + MAX_LIST + TAG;

/** Lines of a text: each ends with a line feed, the last one may do without. @param {string} text */
export const linesOf = (text) => text.replace(/\n$/, '').split('\n');

/**
 * @param {List} list as signed, and checked before
 * @param {string} id the request's
 * @param {Bytes} sealed
 * @returns {Promise<string>} throws when it is not the one that was signed
 */
export async function openList(list, id, sealed) {
  if (sealed.length !== NONCE + Math.ceil(list.bytes / STEP) * STEP + TAG) throw new TypeError('of another length');
  const key = await crypto.subtle.importKey('raw', fromBase64(list.key), 'AES-GCM', false, ['decrypt']);
  const how = { name: 'AES-GCM', iv: sealed.slice(0, NONCE), additionalData: utf8(id) };
  const plaintext = new Uint8Array(await crypto.subtle.decrypt(how, key, sealed.slice(NONCE)));
  const bytes = concat(plaintext.subarray(0, list.bytes));
  const text = fromUtf8(bytes);
  const isPadded = plaintext.subarray(list.bytes).every((byte) => byte === 0);
  const isSigned = hex(await sha256(bytes)) === list.sha256 && linesOf(text).length === list.lines;
  if (!isPadded || !isSigned) throw new TypeError('not the one that was signed');
  return text;
}
