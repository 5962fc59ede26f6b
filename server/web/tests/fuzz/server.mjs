// A server that answers anything, and a mailbox that holds anything.

import assert from 'node:assert/strict';
import { Host, ORIGIN } from '../host.mjs';
import * as bytes from '../../js/core/bytes.js';
import { signCard } from '../../js/core/card.js';
import { generateSealKey } from '../../js/core/hpke.js';
import { SigningKey } from '../../js/core/keys.js';
import { PhonePairing } from '../../js/core/pairing.js';
import { parseTicket } from '../../js/core/ticket.js';
import { Relay } from '../../js/relay/relay.js';
import { accepted } from './attack.mjs';

const key = await SigningKey.generate();
const seal = await generateSealKey();
const card = await signCard(key, seal.publicKey, 1, 'phone');
const SEALED = { envelope: 'e', sealed: 's' };
const ANSWERS = {
  '/v1/app': { server: '1.0.0', vapid: 'AAAA' },
  '/v1/auth/challenge': { nonce: 'n', expires_at: 1 },
  '/v1/auth/token': { token: 't', expires_in: 600 },
  '/v1/mailboxes/x': { host: key.publicKey.id },
  '/v1/mailboxes/x/m2': { mails: ['AAAA'] },
  '/v1/poll': { cursor: 'c', events: [{ event: 'message', data: SEALED }] },
  '/v1/devices/self': {},
};
const CALLS = [
  (relay) => relay.app(),
  (relay) => relay.token(),
  (relay) => relay.mailboxHost('x'),
  (relay) => relay.mail('x', 'm2', new AbortController().signal),
  (relay) => relay.poll('c', new AbortController().signal),
  (relay) => relay.putCard(card),
];

async function answers(random) {
  const fetch = async (url) => {
    const good = ANSWERS[new URL(url).pathname];
    if (random.chance(30)) return new Response(JSON.stringify(good));
    const problem = { code: random.one(['unknown-key', 'limit', 'taken', '__proto__', 'constructor', '']), message: 'no' };
    const json = JSON.stringify(random.changedJson(random.chance(70) ? good : problem));
    const body = random.one([json, json, random.changedText(JSON.stringify(good)), random.changedBytes(bytes.utf8(JSON.stringify(good))), '', null]);
    const status = random.chance(60) ? 200 : random.one([201, 299, 400, 401, 403, 404, 409, 429, 500, 503, 599]);
    const headers = { 'Retry-After': random.one(['', '1', '-1', '1e9', 'NaN', 'Infinity', '0x10', 'Wed, 21 Oct 2026 07:28:00 GMT']) };
    return new Response(body, { status, headers });
  };
  const relay = new Relay(ORIGIN, { fetch, key });
  const call = random.one(CALLS);
  /** @type {any} */
  let fault;
  const noted = (error) => {
    fault = error;
    throw error;
  };
  await accepted(() => call(relay).catch(noted), 'fault');
  if (fault?.retryAfter !== undefined) assert.ok(fault.retryAfter >= 0 && fault.retryAfter <= 3600, String(fault.retryAfter));
}

const host = await Host.make();
const server = { mailboxes: new Map() };
const pairing = await host.pair(server);
const ticket = parseTicket(pairing.link);
const phone = await PhonePairing.begin(ticket.secret, ticket.host, card, key.publicKey.id);
pairing.box.m1.push(await phone.first());
await host.reveal(pairing);
await host.receipt(pairing);
const [m2, m3] = [pairing.box.m2[0], pairing.box.m3[0]];
const { code } = await phone.reveal(m2);
await phone.receipt(seal, m3);

/** Somebody who knows the ticket's secret puts whatever he likes into the mailbox. */
async function reveals(random) {
  let mail = random.chance(50) ? random.changedText(m2) : bytes.base64(random.changedBytes(bytes.fromBase64(m2)));
  if (random.chance(60)) {
    const good = { version: 1, n: bytes.base64(pairing.n), host: { name: host.name, key: host.key.publicKey.line }, user: 'alice' };
    const [iv, additionalData] = [random.bytes(12), await bytes.sha256(phone.plaintext)];
    const aes = await crypto.subtle.importKey('raw', pairing.secrets.reveal, 'AES-GCM', false, ['encrypt']);
    const inside = bytes.utf8(random.chance(20) ? random.changedText(JSON.stringify(good)) : (JSON.stringify(random.changedJson(good)) ?? ''));
    mail = bytes.base64(bytes.concat(iv, new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData }, aes, inside))));
  }
  const fresh = await PhonePairing.begin(ticket.secret, ticket.host, card, key.publicKey.id, phoneFresh());
  const read = await accepted(() => fresh.reveal(mail), 'fault');
  if (!read) return;
  // The name and the user are the host's to say. Its key and the code are not.
  assert.deepEqual([read.key.line, read.code], [host.key.publicKey.line, code]);
  assert.ok(bytes.byteLength(read.host.name) <= 256 && bytes.byteLength(read.user) <= 256);
}

/** What the phone's first message had, so that the mailbox's second one fits. */
function phoneFresh() {
  return bytes.fromBase64(JSON.parse(bytes.fromUtf8(phone.plaintext)).fresh);
}

async function receipts(random) {
  const mail = random.chance(50) ? random.changedText(m3) : (JSON.stringify(random.changedJson(JSON.parse(m3))) ?? '');
  const read = await accepted(() => phone.receipt(seal, mail), 'fault');
  if (read) assert.deepEqual(JSON.parse(mail).sealed, JSON.parse(m3).sealed);
}

/** @type {import('./attack.mjs').Target[]} */
export const targets = [
  { name: 'answers of a server', share: 1, run: answers },
  { name: 'the reveal of a pairing', share: 0.5, run: reveals },
  { name: 'the receipt of a pairing', share: 0.5, run: receipts },
];
