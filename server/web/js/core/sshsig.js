// SSHSIG signatures (OpenSSH's PROTOCOL.sshsig), as `ssh-keygen -Y sign` and `-Y verify` make and check
// them: SHA-512 only, one exact namespace, no certificates.

import { base64, concat, fromBase64, fromUtf8, sha512, utf8 } from './bytes.js';
import { PublicKey } from './keys.js';
import * as wire from './wire.js';

/** @typedef {import('./keys.js').SigningKey} SigningKey */

/** Longest armored signature that is read. */
const MAX_ARMORED = 16 * 1024;
const HEAD = '-----BEGIN SSH SIGNATURE-----';
const TAIL = '-----END SSH SIGNATURE-----';
const MAGIC = utf8('SSHSIG');
const VERSION = 1;
const HASH = 'sha512';
/** ssh-keygen's width of an armored line. */
const WIDTH = 70;

/** SSHSIG namespaces, one for each kind of message, so that no signature serves twice. */
export const NAMESPACE = Object.freeze({
  request: 'request@countersign.org',
  decision: 'decision@countersign.org',
  closed: 'closed@countersign.org',
  card: 'device@countersign.org',
  receipt: 'paired@countersign.org',
  notice: 'notice@countersign.org',
  removal: 'remove@countersign.org',
  auth: 'auth@countersign.org',
});

/**
 * @param {SigningKey} key
 * @param {string} namespace
 * @param {Uint8Array} data
 * @returns {Promise<string>} armored
 */
export async function sign(key, namespace, data) {
  const signature = await key.sign(await signedData(namespace, data));
  const fields = [key.publicKey.blob, utf8(namespace), new Uint8Array(0), utf8(HASH), signature];
  return armor(concat(MAGIC, wire.u32(VERSION), ...fields.map(wire.string)));
}

/**
 * Checks an armored signature over exactly these bytes in exactly this namespace. Says nothing about trust.
 * @param {string} armored
 * @param {string} namespace
 * @param {Uint8Array} data
 * @returns {Promise<PublicKey>} whose it is; throws when it is not valid
 */
export async function verify(armored, namespace, data) {
  const reader = new wire.Reader(dearmor(armored));
  if (fromUtf8(reader.take(MAGIC.length)) !== 'SSHSIG') throw new TypeError('not an SSH signature');
  if (reader.u32() !== VERSION) throw new TypeError('a signature of another version');
  const blob = reader.string();
  if (reader.text() !== namespace) throw new TypeError('a signature for another purpose');
  if (reader.string().length !== 0) throw new TypeError('a signature with its reserved field in use');
  if (reader.text() !== HASH) throw new TypeError('a signature without sha512');
  const signature = reader.string();
  reader.end();
  const key = await PublicKey.fromBlob(blob);
  if (!(await key.verify(await signedData(namespace, data), signature))) throw new TypeError('not valid');
  return key;
}

/**
 * @param {string} namespace
 * @param {Uint8Array} data
 */
async function signedData(namespace, data) {
  const fields = [utf8(namespace), new Uint8Array(0), utf8(HASH), await sha512(data)];
  return concat(MAGIC, ...fields.map(wire.string));
}

/** @param {Uint8Array} blob */
function armor(blob) {
  const encoded = base64(blob);
  const lines = [HEAD];
  for (let at = 0; at < encoded.length; at += WIDTH) lines.push(encoded.slice(at, at + WIDTH));
  return `${[...lines, TAIL].join('\n')}\n`;
}

/** @param {string} armored */
function dearmor(armored) {
  const trimmed = armored.length > MAX_ARMORED ? '' : armored.trimEnd();
  const body = trimmed.slice(HEAD.length, -TAIL.length);
  const framed = trimmed.startsWith(HEAD) && trimmed.endsWith(TAIL) && body.startsWith('\n') && body.endsWith('\n');
  if (!framed) throw new TypeError('not an armored signature');
  // No carriage returns: neither hosts nor ssh-keygen take them.
  return fromBase64(body.replaceAll('\n', ''));
}
