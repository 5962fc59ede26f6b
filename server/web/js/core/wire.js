// OpenSSH's binary encoding (RFC 4251, section 5): lengths are checked, nothing may follow the end.

import { concat, fromUtf8 } from './bytes.js';

/** Reads fields one after another; throws on whatever is not well formed. */
export class Reader {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  /**
   * @param {number} length
   * @returns {import('./bytes.js').Bytes}
   */
  take(length) {
    if (length > this.bytes.length - this.at) throw new TypeError('it ends too early');
    const out = this.bytes.slice(this.at, this.at + length);
    this.at += length;
    return out;
  }

  u8() {
    return /** @type {number} */ (this.take(1)[0]);
  }

  u16() {
    return new DataView(this.take(2).buffer).getUint16(0);
  }

  u32() {
    return new DataView(this.take(4).buffer).getUint32(0);
  }

  string() {
    return this.take(this.u32());
  }

  text() {
    return fromUtf8(this.string());
  }

  /** A positive number of at most 32 bytes in its one encoding, as 32 bytes. */
  scalar() {
    let bytes = this.string();
    const first = bytes[0];
    if (first === undefined || first & 0x80) throw new TypeError('not a positive number');
    if (first === 0) {
      if (!((bytes[1] ?? 0) & 0x80)) throw new TypeError('a number with a zero too many');
      bytes = bytes.slice(1);
    }
    if (bytes.length > 32) throw new TypeError('too large a number');
    return concat(new Uint8Array(32 - bytes.length), bytes);
  }

  rest() {
    return this.take(this.bytes.length - this.at);
  }

  end() {
    if (this.at !== this.bytes.length) throw new TypeError('bytes follow its end');
  }
}

/** @param {number} value */
export function u16(value) {
  const out = new Uint8Array(2);
  new DataView(out.buffer).setUint16(0, value);
  return out;
}

/** @param {number} value */
export function u32(value) {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value);
  return out;
}

/** @param {Uint8Array} bytes */
export function string(bytes) {
  return concat(u32(bytes.length), bytes);
}

/**
 * @param {Uint8Array} scalar big-endian
 * @returns {Uint8Array} as a string field in its one encoding
 */
export function scalar(scalar) {
  const first = scalar.findIndex((byte) => byte !== 0);
  const digits = first < 0 ? new Uint8Array(0) : scalar.slice(first);
  const signed = (digits[0] ?? 0) & 0x80;
  return string(signed ? concat(new Uint8Array(1), digits) : digits);
}
