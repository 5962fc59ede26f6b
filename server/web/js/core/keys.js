// Signing keys in OpenSSH's forms: ed25519, and P-256 for browsers without ed25519.

import { base64, base64url, concat, equal, fromBase64, hex, sha256, utf8 } from './bytes.js';
import * as wire from './wire.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {'ssh-ed25519'|'ecdsa-sha2-nistp256'} Algorithm */

export const ED25519 = 'ssh-ed25519';
export const P256 = 'ecdsa-sha2-nistp256';
/** Longest public key line that is read. */
const MAX_LINE = 8 * 1024;
const P256_PARAMETERS = { name: 'ECDSA', namedCurve: 'P-256' };
const P256_SIGN = { name: 'ECDSA', hash: 'SHA-256' };

/**
 * The y of points of small order, in hex: anybody can sign for such a key. (2^255 - 19 and above are
 * refused as second encodings.)
 */
const SMALL_ORDER = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
]);

/**
 * Verifies ed25519 where WebCrypto cannot.
 * @typedef {{verifyAsync: (signature: Uint8Array, message: Uint8Array, key: Uint8Array, options: {zip215: boolean}) => Promise<boolean>}} Ed25519Module
 */

/** @type {() => Promise<Ed25519Module>} */
let loadEd25519 = () => import('../../vendor/noble-ed25519.js');

/**
 * A service worker may not import late: it gives the module that it has imported already.
 * @param {Ed25519Module} module
 */
export function useEd25519(module) {
  loadEd25519 = async () => module;
}

/** @type {Promise<boolean>|undefined} */
let native;

/** Whether WebCrypto knows ed25519. */
function hasEd25519() {
  native ??= crypto.subtle.importKey('raw', new Uint8Array(32).fill(0x66), 'Ed25519', false, ['verify']).then(
    () => true,
    () => false,
  );
  return native;
}

/** A public signing key. */
export class PublicKey {
  /**
   * @param {Algorithm} algorithm
   * @param {Bytes} point 32 bytes of ed25519, or 65 of an uncompressed P-256 point
   * @param {Bytes} blob
   * @param {Bytes} hash SHA-256 of the blob
   */
  constructor(algorithm, point, blob, hash) {
    this.algorithm = algorithm;
    this.point = point;
    this.blob = blob;
    this.hash = hash;
    this.line = `${algorithm} ${base64(blob)}`;
    this.id = base64url(hash);
    this.fingerprint = `SHA256:${base64(hash).replaceAll('=', '')}`;
  }

  /**
   * Reads a line without comment, in its one spelling: how keys stand in messages.
   * @param {unknown} line
   * @returns {Promise<PublicKey>}
   */
  static async fromLine(line) {
    if (typeof line !== 'string' || line.length > MAX_LINE) throw new TypeError('not a public key');
    const space = line.indexOf(' ');
    const key = await PublicKey.fromBlob(fromBase64(line.slice(space + 1)));
    if (key.line !== line) throw new TypeError('not the one spelling of a public key');
    return key;
  }

  /**
   * @param {Uint8Array} blob
   * @returns {Promise<PublicKey>}
   */
  static async fromBlob(blob) {
    const reader = new wire.Reader(blob);
    const name = reader.text();
    const curve = name === P256 ? reader.text() : undefined;
    if (name !== ED25519 && curve !== 'nistp256') throw new TypeError('a key of another type');
    const point = reader.string();
    reader.end();
    return PublicKey.fromPoint(name === ED25519 ? ED25519 : P256, point);
  }

  /**
   * @param {Algorithm} algorithm
   * @param {Bytes} point
   * @returns {Promise<PublicKey>}
   */
  static async fromPoint(algorithm, point) {
    /** @type {Bytes} */
    let blob;
    if (algorithm === ED25519) {
      if (point.length !== 32 || isWeak(point)) throw new TypeError('not a strong ed25519 key');
      blob = concat(wire.string(utf8(ED25519)), wire.string(point));
    } else {
      if (point.length !== 65 || point[0] !== 4) throw new TypeError('not an uncompressed P-256 point');
      // The import refuses what is not on the curve.
      await crypto.subtle.importKey('raw', point, P256_PARAMETERS, true, ['verify']);
      blob = concat(wire.string(utf8(P256)), wire.string(utf8('nistp256')), wire.string(point));
    }
    return new PublicKey(algorithm, point, blob, await sha256(blob));
  }

  /**
   * @param {Uint8Array} data
   * @param {Uint8Array} signature SSH signature blob: string algorithm, string signature
   * @returns {Promise<boolean>} false for every cause alike
   */
  async verify(data, signature) {
    try {
      const reader = new wire.Reader(signature);
      const name = reader.text();
      const body = reader.string();
      reader.end();
      if (name !== this.algorithm) return false;
      return await (this.algorithm === ED25519
        ? verifyEd25519(this.point, concat(data), body)
        : verifyP256(this.point, concat(data), body));
    } catch {
      return false;
    }
  }
}

/**
 * @param {Uint8Array} point
 * @returns {boolean} whether it is of small order, or a second encoding of another
 */
function isWeak(point) {
  const y = point.slice();
  y[31] = /** @type {number} */ (y[31]) & 0x7f;
  const isLarge = y[31] === 0x7f && y.slice(1, 31).every((byte) => byte === 0xff);
  return SMALL_ORDER.has(hex(y)) || (isLarge && /** @type {number} */ (y[0]) >= 0xed);
}

/**
 * @param {Bytes} point
 * @param {Bytes} data
 * @param {Bytes} signature
 */
async function verifyEd25519(point, data, signature) {
  // As strict as the hosts are: R of small order is refused as well.
  if (signature.length !== 64 || isWeak(signature.slice(0, 32))) return false;
  if (!(await hasEd25519())) {
    const module = await loadEd25519();
    return module.verifyAsync(signature, data, point, { zip215: false });
  }
  const key = await crypto.subtle.importKey('raw', point, 'Ed25519', false, ['verify']);
  return crypto.subtle.verify('Ed25519', key, signature, data);
}

/**
 * @param {Bytes} point
 * @param {Bytes} data
 * @param {Bytes} body two numbers
 */
async function verifyP256(point, data, body) {
  const reader = new wire.Reader(body);
  const numbers = concat(reader.scalar(), reader.scalar());
  reader.end();
  const key = await crypto.subtle.importKey('raw', point, P256_PARAMETERS, false, ['verify']);
  return crypto.subtle.verify(P256_SIGN, key, numbers, data);
}

/** A signing key whose private half WebCrypto keeps. */
export class SigningKey {
  /**
   * @param {PublicKey} publicKey
   * @param {CryptoKey} secret
   */
  constructor(publicKey, secret) {
    this.publicKey = publicKey;
    this.secret = secret;
  }

  /**
   * A new key that cannot be taken out of this browser.
   * @returns {Promise<SigningKey>}
   */
  static async generate() {
    const [pair, algorithm] = await generatePair();
    const point = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
    return new SigningKey(await PublicKey.fromPoint(algorithm, point), pair.privateKey);
  }

  /**
   * @param {Uint8Array} data
   * @returns {Promise<Bytes>} an SSH signature blob
   */
  async sign(data) {
    const { algorithm } = this.publicKey;
    const parameters = algorithm === ED25519 ? 'Ed25519' : P256_SIGN;
    const raw = new Uint8Array(await crypto.subtle.sign(parameters, this.secret, concat(data)));
    const body =
      algorithm === ED25519 ? raw : concat(wire.scalar(raw.slice(0, 32)), wire.scalar(raw.slice(32)));
    return concat(wire.string(utf8(algorithm)), wire.string(body));
  }
}

/** @returns {Promise<[CryptoKeyPair, Algorithm]>} */
async function generatePair() {
  try {
    const pair = await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify']);
    return [/** @type {CryptoKeyPair} */ (pair), ED25519];
  } catch {
    return [await crypto.subtle.generateKey(P256_PARAMETERS, false, ['sign', 'verify']), P256];
  }
}

/**
 * @param {PublicKey} a
 * @param {PublicKey} b
 */
export function sameKey(a, b) {
  return equal(a.blob, b.blob);
}
