// What is signed and sealed: a changed bit counts for nothing, and an honest key around a hostile inside changes nothing else.

import { all as elements } from '../dom.mjs';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Host } from '../host.mjs';
import * as bytes from '../../js/core/bytes.js';
import { signCard, verifyCard } from '../../js/core/card.js';
import * as hpke from '../../js/core/hpke.js';
import { PublicKey, SigningKey } from '../../js/core/keys.js';
import { verifyMessage } from '../../js/core/messages.js';
import { sealInfo } from '../../js/core/seal.js';
import * as sshsig from '../../js/core/sshsig.js';
import { readLetter } from '../../js/engine/letter.js';
import { loadText } from '../../js/text/index.js';
import { details, extraRow, headline, headlineText } from '../../js/ui/words.js';
import { accepted } from './attack.mjs';
import { ACTIVE } from './encodings.mjs';

await loadText();
const ed25519 = await SigningKey.generate();
const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify']);
const point = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
const p256 = new SigningKey(await PublicKey.fromPoint('ecdsa-sha2-nistp256', point), pair.privateKey);

const DATA = bytes.utf8('{"version":1}');
const PURPOSE = sshsig.NAMESPACE.closed;
const signatures = await Promise.all([ed25519, p256].map((key) => sshsig.sign(key, PURPOSE, DATA)));
const blobOf = (armored) => bytes.fromBase64(armored.split('\n').slice(1, -2).join(''));
const armor = (blob) => `-----BEGIN SSH SIGNATURE-----\n${bytes.base64(blob).replace(/.{70}(?=.)/g, '$&\n')}\n-----END SSH SIGNATURE-----\n`;

const folder = mkdtempSync(path.join(tmpdir(), 'countersign-fuzz-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Whether ssh-keygen takes it, too. */
function isGood(armored) {
  const file = path.join(folder, 'signature');
  writeFileSync(file, armored);
  const { status, error } = spawnSync('ssh-keygen', ['-Y', 'check-novalidate', '-n', PURPOSE, '-s', file], { input: DATA });
  assert.ifError(error);
  return status === 0;
}

async function sshSignatures(random) {
  const good = random.one(signatures);
  const text = random.chance(50);
  const changed = text ? random.changedText(good, signatures) : armor(random.changedBytes(blobOf(good), signatures.map(blobOf)));
  const by = await accepted(() => sshsig.verify(changed, PURPOSE, DATA), 'refusal', 'utf8', 'crypto');
  if (!by) return;
  const same = signatures.filter((armored) => bytes.equal(blobOf(armored), blobOf(armor(bytes.fromBase64(changed.split(/-----[A-Z ]+-----/)[1].replace(/\s/g, ''))))));
  assert.equal(same.length, 1, `a second form: ${changed}`);
  assert.ok(isGood(changed), `refused by ssh-keygen: ${JSON.stringify(changed)}`);
}

/** Each bit of a signature, and of what is signed. */
export async function everyBit() {
  const flipped = (from, bit) => Uint8Array.from(from, (byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
  let tried = 0;
  for (const good of signatures) {
    const blob = blobOf(good);
    for (let bit = 0; bit < blob.length * 8; bit++, tried++) {
      const by = await accepted(() => sshsig.verify(armor(flipped(blob, bit)), PURPOSE, DATA), 'refusal', 'utf8', 'crypto');
      assert.equal(by, undefined, `bit ${bit}`);
    }
    for (let bit = 0; bit < DATA.length * 8; bit++, tried++) {
      assert.equal(await accepted(() => sshsig.verify(good, PURPOSE, flipped(DATA, bit)), 'refusal'), undefined, `bit ${bit} of the data`);
    }
  }
  return tried;
}

/** A machine and this device, paired. */
const seal = await hpke.generateSealKey();
const host = await Host.make();
host.card = await verifyCard(await signCard(ed25519, seal.publicKey, 1, 'phone'));
const device = { id: ed25519.publicKey.id, sealKey: seal, cardHashes: [host.card.hash] };
const machines = [{ id: host.id, line: host.key.publicKey.line, name: host.name, card: host.card.hash }];
const FULL = {
  requester: 'bob', command: 'sudo ls', action: 'org.x', terminal: 'pts/1', remote: { address: '192.0.2.1', port: 22, source: 'kernel' },
  ssh_key: { fingerprint: 'SHA256:x', type: 'ED25519' }, lease_max: 900, lease_uses: 20,
};
const letters = [await host.request(FULL), await host.notice([{ id: ed25519.publicKey.id, name: 'phone', paired_at: 1, last_used_at: 2 }])];
letters.push(await host.closed(letters[0]));

async function sealedMessages(random) {
  const { sealed } = random.one(letters);
  const others = letters.map((letter) => letter.sealed);
  const changed = { ...sealed };
  if (random.chance(40)) changed.envelope = random.chance(50) ? random.changedText(sealed.envelope, others.map((o) => o.envelope)) : JSON.stringify(random.changedJson(JSON.parse(sealed.envelope)));
  else if (random.chance(70)) changed.sealed = flippedText(random, sealed.sealed);
  else changed.sealed = random.changedText(sealed.sealed, others.map((o) => o.sealed));
  const letter = await accepted(() => readLetter(changed, device, machines), 'alarm');
  if (letter) assert.deepEqual(changed, sealed, 'a changed message was read');
}

function flippedText(random, text) {
  const raw = bytes.fromBase64(text);
  raw[random.below(raw.length)] ^= 1 << random.below(8);
  return bytes.base64(raw);
}

/** What stands in the lists and texts of a page. */
const said = (nodes) => [nodes].flat(Infinity).map((node) => (typeof node === 'string' ? node : (node?.textContent ?? ''))).join(' ');

function show(request) {
  const asked = { machine: host.name, request };
  const drawn = [headline(asked), headlineText(asked), details(asked).map(({ value }) => value), extraRow(asked, 'user').value];
  assert.doesNotMatch(said(drawn), ACTIVE);
  assert.ok(elements(drawn, 'user').length <= 1);
  assert.match(new Date(request.issued_at * 1000).toISOString(), /^\d{4}-/);
}

/** The machine's own key, around anything. */
async function hostileInsides(random) {
  const { message } = random.one(letters);
  const type = 'outcome' in message ? 'closed' : 'devices' in message ? 'notice' : 'request';
  const changed = random.changedJson(message);
  const text = random.chance(15) ? random.changedText(JSON.stringify(message)) : JSON.stringify(changed);
  const body = bytes.utf8(text ?? '');
  const signature = await sshsig.sign(host.key, sshsig.NAMESPACE[type], body);
  const read = await accepted(() => verifyMessage(type, body, signature, host.key.publicKey), 'refusal', 'json', 'utf8', 'crypto');
  if (!read) return;
  // Written again it means the same: nothing of it hangs on what was left out.
  const again = bytes.utf8(JSON.stringify(read));
  if (again.length <= 2048) {
    const twice = await verifyMessage(type, again, await sshsig.sign(host.key, sshsig.NAMESPACE[type], again), host.key.publicKey);
    assert.deepEqual(twice, read);
  }
  assert.equal(Object.getPrototypeOf(read), Object.prototype);
  if (type === 'request') show(read);
}

/** The machine's own seal, around another padding. */
async function hostilePadding(random) {
  const { sealed, message } = letters[0];
  const info = sealInfo('request', host.key.publicKey, host.card.hash);
  const plaintext = await hpke.open(seal, info, bytes.utf8(sealed.envelope), bytes.fromBase64(sealed.sealed));
  const changed = random.changedBytes(plaintext).slice(0, plaintext.length);
  const padded = bytes.concat(changed, new Uint8Array(plaintext.length - changed.length));
  const made = await hpke.seal(seal.publicKey, info, bytes.utf8(sealed.envelope), padded);
  const letter = await accepted(() => readLetter({ envelope: sealed.envelope, sealed: bytes.base64(made) }, device, machines), 'alarm');
  if (letter) assert.equal(letter.request.id, message.id);
}

const goodCard = await signCard(ed25519, seal.publicKey, 7, 'phone');

async function cards(random) {
  const text = random.chance(30) ? random.changedText(goodCard.card) : (JSON.stringify(random.changedJson(JSON.parse(goodCard.card))) ?? '');
  const signature = random.chance(80) ? await sshsig.sign(ed25519, sshsig.NAMESPACE.card, bytes.utf8(text)) : goodCard.signature;
  const read = await accepted(() => verifyCard({ card: text, signature }), 'refusal', 'json', 'utf8', 'crypto');
  if (!read) return;
  assert.ok(signature !== goodCard.signature || text === goodCard.card, 'another card under the same signature');
  assert.equal(read.key.line, ed25519.publicKey.line);
  assert.ok(read.seal.length === 32 && Number.isSafeInteger(read.card.serial) && bytes.byteLength(read.card.name) <= 64);
  assert.deepEqual(read.hash, await bytes.sha256(bytes.utf8(text)));
}

/** @type {import('./attack.mjs').Target[]} */
export const targets = [
  { name: 'SSH signatures', share: 1, run: sshSignatures },
  { name: 'sealed messages', share: 0.5, run: sealedMessages },
  { name: 'messages that are signed', share: 0.5, run: hostileInsides },
  { name: 'what is in a seal', share: 0.1, run: hostilePadding },
  { name: 'device cards', share: 0.5, run: cards },
];
