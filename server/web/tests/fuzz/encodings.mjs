// Bytes, texts and links: what is read is written again in the same spelling.

import assert from 'node:assert/strict';
import * as bytes from '../../js/core/bytes.js';
import { escape } from '../../js/core/escape.js';
import { PublicKey, SigningKey } from '../../js/core/keys.js';
import { readChallenge } from '../../js/core/phone_code.js';
import { parseTicket } from '../../js/core/ticket.js';
import * as wire from '../../js/core/wire.js';
import { MAX_EVENT, Parser } from '../../js/relay/sse.js';
import { accepted } from './attack.mjs';

/** Controls, separators, and what turns or hides its surroundings, by Unicode's own words for it. */
export const ACTIVE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Default_Ignorable_Code_Point}]/u;

const SPELLINGS = [
  [bytes.base64, bytes.fromBase64],
  [bytes.base64url, bytes.fromBase64url],
  [bytes.hex, bytes.fromHex],
];

async function spellings(random) {
  const [write, read] = random.one(SPELLINGS);
  const data = random.bytes(random.below(40));
  assert.deepEqual(read(write(data)), data);
  const text = random.changedText(write(data));
  const back = await accepted(() => read(text), 'refusal');
  if (back) assert.equal(write(back), text);
  if (bytes.isKeyId(text)) assert.equal(bytes.base64url(bytes.fromBase64url(text)), text);
}

/** Fields of the wire: how each is made, read, and written. */
const FIELDS = {
  string: [(random) => wire.string(random.bytes(random.below(20))), wire.string],
  text: [(random) => wire.string(bytes.utf8(random.text().toWellFormed?.() ?? 'x')), (text) => wire.string(bytes.utf8(text))],
  scalar: [(random) => wire.scalar(random.bytes(32)), wire.scalar],
  u8: [(random) => random.bytes(1), (value) => Uint8Array.of(value)],
  u16: [(random) => random.bytes(2), wire.u16],
  u32: [(random) => random.bytes(4), wire.u32],
};

async function fields(random) {
  const names = Array.from({ length: 1 + random.below(5) }, () => random.one(Object.keys(FIELDS)));
  const good = bytes.concat(...names.map((name) => FIELDS[name][0](random)));
  const read = (from) => {
    const reader = new wire.Reader(from);
    const values = names.map((name) => reader[name]());
    reader.end();
    return bytes.concat(...values.map((value, i) => FIELDS[names[i]][1](value)));
  };
  assert.deepEqual(read(good), good);
  const changed = random.changedBytes(good);
  const back = await accepted(() => read(changed), 'refusal', 'utf8');
  if (back) assert.deepEqual(back, changed);
}

const keys = [await SigningKey.generate(), await p256()];

/** A key of a browser that lacks ed25519. */
async function p256() {
  const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify']);
  const point = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
  return new SigningKey(await PublicKey.fromPoint('ecdsa-sha2-nistp256', point), pair.privateKey);
}

async function publicKeys(random) {
  const { publicKey } = random.one(keys);
  const line = random.chance(50) ? random.changedText(publicKey.line) : `${publicKey.algorithm} ${bytes.base64(random.changedBytes(publicKey.blob))}`;
  const read = await accepted(() => PublicKey.fromLine(line), 'refusal', 'utf8', 'crypto');
  if (read) assert.equal(read.line, line);
  const blob = random.changedBytes(publicKey.blob, keys.map((key) => key.publicKey.blob));
  const other = await accepted(() => PublicKey.fromBlob(blob), 'refusal', 'utf8', 'crypto');
  if (other) assert.deepEqual(other.blob, blob);
}

const SECRET = 'h4e3okQlKL_t8BrTmZ51_w';
const HOST = '2HS8bJpYBy7bDfWIQN304coFKT0s6CVPABFLYq-IX5E';
const LINKS = [
  `https://a.example/pair#1.${SECRET}.${HOST}`,
  `http://[::1]:8443/pair#1.${SECRET}.${HOST}`,
  `https://app.example/pair#1.${SECRET}.${HOST}.https://b.example:65535`,
];
const TYPED = ['zzzzz-zzzzz-zzzzz-zzzzz-zzzzzw', 'oil00 00000 00000 00000 000000'];
const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';

async function tickets(random) {
  const text = random.changedText(random.one(random.chance(70) ? LINKS : TYPED), [...LINKS, ...TYPED]);
  const ticket = await accepted(() => parseTicket(text), 'fault');
  if (!ticket) return;
  assert.equal(ticket.secret.length, 16);
  if (ticket.server === undefined) {
    const folded = text.toLowerCase().replace(/[\s-]/g, '').replace(/o/g, '0').replace(/[il]/g, '1');
    const number = [...folded].reduce((sum, c) => (sum << 5n) | BigInt(CROCKFORD.indexOf(c)), 0n);
    assert.equal(bytes.hex(ticket.secret), (number >> 2n).toString(16).padStart(32, '0'), text);
    return;
  }
  const rest = `${bytes.base64url(ticket.secret)}.${bytes.base64url(ticket.host)}`;
  assert.ok([`${ticket.server}/pair#1.${rest}`, text.trim().replace(/#.*/s, `#1.${rest}.${ticket.server}`)].includes(text.trim()), text);
  const url = new URL(ticket.server);
  assert.ok(['http:', 'https:'].includes(url.protocol) && [url.username, url.password, url.search, url.hash].every((part) => part === '') && url.pathname === '/', text);
}

async function challenges(random) {
  const texts = ['sshd', random.text(), random.chance(50) ? '192.0.2.1' : ''].map(bytes.utf8);
  const write = ({ host, replyKey, issuedAt, ttl }, names) =>
    bytes.concat(Uint8Array.of(1), host, replyKey, wire.u32(issuedAt), Uint8Array.of(ttl), ...names.flatMap((name) => [Uint8Array.of(name.length), name]));
  const good = write({ host: random.bytes(16), replyKey: random.bytes(32), issuedAt: random.next(), ttl: 60 }, texts);
  const changed = random.chance(20) ? good : random.changedBytes(good);
  const read = await accepted(() => readChallenge(changed), 'refusal', 'utf8');
  if (read) assert.deepEqual(write(read, [read.service, read.user, read.address].map(bytes.utf8)), changed);
}

function escaped(random) {
  const text = random.changedText(random.text());
  const shown = escape(text);
  assert.doesNotMatch(shown, ACTIVE);
  const back = shown.replace(/\\(\\|u\{([0-9a-f]+)\})/g, (_, one, code) => (code ? String.fromCodePoint(parseInt(code, 16)) : one));
  assert.equal(back, text, 'two texts look the same');
  const max = random.below(40);
  const short = bytes.clip(text, max);
  assert.ok(text.startsWith(short) && bytes.byteLength(short) <= max);
}

const STREAM = bytes.utf8('event: hello\ndata: {"server":"1"}\n\n: still here\n\nevent: message\r\ndata: é😀\r\ndata: b\r\n\r\ndata\n\nid: 3\nretry: x\nevent: message\ndata: {}\n\n');

/** The same events however the bytes come in pieces, and none that is larger than allowed. */
async function streams(random) {
  const changed = random.chance(5) ? bytes.concat(...Array(random.below(400)).fill(random.changedBytes(STREAM))) : random.changedBytes(STREAM, [STREAM, new Uint8Array(40_000).fill(random.one([10, 13, 58, 97]))]);
  const read = (cut) => {
    const [parser, events] = [new Parser(), []];
    for (let at = 0; at < changed.length;) {
      const length = cut(changed.length - at);
      events.push(...parser.push(changed.slice(at, at + length)));
      at += length;
    }
    return events;
  };
  const [whole, pieces] = [
    await accepted(() => read((left) => left), 'refusal', 'utf8'),
    await accepted(() => read(() => 1 + random.below(random.one([1, 7, 4000]))), 'refusal', 'utf8'),
  ];
  // That a line is too long is noticed at the end of a piece.
  if (whole && !pieces) assert.ok(changed.join().split(',10,').some((line) => line.split(',').length > MAX_EVENT), 'refused only in pieces');
  else assert.deepEqual(pieces, whole);
  for (const { name, data } of [...(whole ?? []), ...(pieces ?? [])]) assert.ok(name.length + data.length <= MAX_EVENT + 'message'.length);
}

/** @type {import('./attack.mjs').Target[]} */
export const targets = [
  { name: 'base64 and hex', share: 3, run: spellings },
  { name: 'fields of the wire', share: 3, run: fields },
  { name: 'public keys', share: 1, run: publicKeys },
  { name: 'tickets', share: 3, run: tickets },
  { name: 'phone-code challenges', share: 2, run: challenges },
  { name: 'text made inert', share: 2, run: escaped },
  { name: 'event streams', share: 1, run: streams },
];
