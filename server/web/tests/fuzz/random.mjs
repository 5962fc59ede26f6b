// Choices that are the same for a seed, and changes of bytes, texts and JSON.

import * as bytes from '../../js/core/bytes.js';

/** Characters that parsers and screens stumble over. */
const ODD = [
  '\0', '\t', '\n', '\r', '\r\n', '\x1b[2J', '\x7f', '\x85', '\xa0', '\xad', '\u061c', '\u200b', '\u200f', '\u2028', '\u202e', '\u2066', '\u2069', '\ufeff', '\ufffd',
  '\ufff9', '\ud800', '\udc00', '\u{1d173}', '\u{e0001}', '\u{e01ef}', '😀', '０', 'İ', 'ſ', 'K', 'e\u0301', '"', '\\', '\\u0000', '/', '#', '.', ':', ' ', '=', '-', '_', '+', '%', '<b>', '{', '}', '[', ',',
  '0', '1', '9', 'A', 'a', 'z', 'data:', 'event:', 'id:', '-----END SSH SIGNATURE-----', 'https://', '1e999', '-0', 'null',
];
/** Lengths and counts, at the ends of what fits. */
const NUMBERS = [0, 1, 2, 31, 32, 33, 63, 64, 65, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];
const VALUES = [
  null, true, false, 0, -1, 1, 1.5, 255, 256, 600, 601, 65536, 2 ** 32, 253_402_300_799, 253_402_300_800, 2 ** 53, -(2 ** 53), 1e308, '', '0', 'null', 'a', [], {}, [[]],
  ['alice'], [null], { length: 3 }, { toString: 1 }, 'code', 'tap', 'none', 'login', 'test', 'action',
];
const KEYS = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'length', 'later', '', 'version', 'id', 'event', 'more', 'remote', 'requester', 'command', 'action', 'terminal', 'lease_max', 'lease_uses'];

export class Random {
  /** @param {number} seed 32 bits of it */
  constructor(seed) {
    this.state = seed >>> 0;
  }

  /** Mulberry32. */
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return (z ^ (z >>> 14)) >>> 0;
  }

  below(end) {
    return end > 0 ? this.next() % end : 0;
  }

  chance(percent) {
    return this.below(100) < percent;
  }

  one(list) {
    return list[this.below(list.length)];
  }

  bytes(length) {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  /** Some bytes with one to three changes; `others` lend pieces. */
  changedBytes(from, others = [from]) {
    let out = from;
    for (let i = 1 + this.below(3); i > 0; i--) out = this.#changeBytes(out, this.one(others));
    return out;
  }

  #changeBytes(from, other) {
    const at = this.below(from.length);
    const [head, tail] = [from.slice(0, at), from.slice(at)];
    const copy = from.slice();
    switch (this.below(9)) {
      case 0:
        return head;
      case 1:
        return bytes.concat(head, tail.slice(this.below(tail.length)));
      case 2:
        return bytes.concat(head, this.bytes(1 + this.below(8)), tail);
      case 3:
        return bytes.concat(head, tail.slice(0, this.below(64)), tail);
      case 4:
        return bytes.concat(head, other.slice(this.below(other.length)));
      case 5:
        return this.#withNumber(copy, at);
      case 6:
        return bytes.concat(from, this.one([Uint8Array.of(0), this.bytes(1), new Uint8Array(4000)]));
      default:
        if (copy.length > 0) copy[at] ^= 1 << this.below(8);
        return copy;
    }
  }

  /** A length field with another length, wherever it may be. */
  #withNumber(copy, at) {
    const view = new DataView(copy.buffer, copy.byteOffset, copy.byteLength);
    const number = this.one([...NUMBERS, copy.length, copy.length - at]);
    if (at + 4 <= copy.length && this.chance(60)) view.setUint32(at, number);
    else if (at + 2 <= copy.length) view.setUint16(at, number & 0xffff);
    return copy;
  }

  /** A text with one to three changes. */
  changedText(from, others = [from]) {
    let out = from;
    for (let i = 1 + this.below(3); i > 0; i--) out = this.#changeText(out, this.one(others));
    return out;
  }

  #changeText(from, other) {
    const at = this.below(from.length + 1);
    const [head, tail] = [from.slice(0, at), from.slice(at)];
    switch (this.below(9)) {
      case 0:
        return head;
      case 1:
        return head + tail.slice(1 + this.below(4));
      case 2:
      case 3:
        return head + this.one(ODD) + tail;
      case 4:
        return head + this.one(ODD) + tail.slice(1);
      case 5:
        return head + other.slice(this.below(other.length));
      case 6:
        return head + String.fromCharCode((tail.charCodeAt(0) || 0) ^ (1 << this.below(16))) + tail.slice(1);
      case 7:
        return head + this.one([...ODD, head.slice(-1), 'x']).repeat(this.one([2, 10, 100, 2000])) + tail;
      default:
        return this.one([from.toUpperCase(), from.toLowerCase(), from.replaceAll('\n', '\r\n'), ` ${from}`, `${from}\n`, from + from]);
    }
  }

  /** A short text of odd characters. */
  text() {
    return Array.from({ length: this.below(12) }, () => (this.chance(70) ? this.one(ODD) : String.fromCodePoint(this.below(0x110000)))).join('');
  }

  value() {
    const long = () => this.one([...ODD, 'x']).repeat(this.one([63, 64, 65, 256, 257, 1024, 3000]));
    return this.chance(60) ? structuredClone(this.one(VALUES)) : this.one([this.text(), this.text(), long(), Array(17).fill('a'), this.below(2 ** 32)]);
  }

  /** A copy of some JSON with a field or two changed, left out, added or exchanged. */
  changedJson(from) {
    const copy = { root: structuredClone(from) };
    for (let i = 1 + this.below(2); i > 0; i--) this.#changeJson(copy);
    return copy.root;
  }

  #changeJson(copy) {
    let [owner, name] = [copy, 'root'];
    while (owner[name] !== null && typeof owner[name] === 'object' && Object.keys(owner[name]).length > 0 && this.chance(owner === copy ? 97 : 60)) {
      owner = owner[name];
      name = this.one(Object.keys(owner));
    }
    const set = (key, value) => Object.defineProperty(owner, key, { value, enumerable: true, writable: true, configurable: true });
    switch (this.below(6)) {
      case 0:
        if (owner !== copy && !Array.isArray(owner)) delete owner[name];
        return;
      case 1:
        if (owner !== copy) set(Array.isArray(owner) ? owner.length : this.one(KEYS), this.value());
        return;
      case 2:
        if (typeof owner[name] === 'string') set(name, this.changedText(owner[name]));
        return;
      case 3:
        if (owner !== copy) set(this.one(Object.keys(owner)), owner[name]);
        return;
      default:
        set(name, this.value());
    }
  }
}
