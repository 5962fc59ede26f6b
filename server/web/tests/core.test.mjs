import './setup.mjs';
import assert from 'node:assert/strict';
import test from 'node:test';
import * as bytes from '../js/core/bytes.js';
import { parseJson } from '../js/core/check.js';
import { PublicKey, SigningKey } from '../js/core/keys.js';
import { generateSealKey } from '../js/core/hpke.js';
import { verifyMessage, signMessage, BadSignature } from '../js/core/messages.js';
import { phoneCode, readChallenge } from '../js/core/phone_code.js';
import { open, peek, seal } from '../js/core/seal.js';
import * as sshsig from '../js/core/sshsig.js';
import { parseTicket } from '../js/core/ticket.js';
import { Reader, scalar, string } from '../js/core/wire.js';
import * as noble from '../vendor/noble-ed25519.js';

const fault = (code) => (error) => error.code === code;

test('base64 has one spelling', () => {
  for (const text of ['', 'AA==', 'AAA=', 'AAAA', '+/+/']) {
    assert.equal(bytes.base64(bytes.fromBase64(text)), text);
  }
  for (const text of ['A', 'AA', 'AA=', 'AB==', 'AAB=', 'AA==AAAA', 'A A=', '-_-_', 'AAAA\n']) {
    assert.throws(() => bytes.fromBase64(text), TypeError, text);
  }
  assert.equal(bytes.hex(bytes.fromBase64url('-_8')), 'fbff');
  for (const text of ['-_9', 'AA==', '+/+/', 'A']) assert.throws(() => bytes.fromBase64url(text), TypeError, text);
});

test('hex and key ids have one shape', () => {
  assert.equal(bytes.hex(bytes.fromHex('00ff')), '00ff');
  for (const text of ['0', '0F', 'xx']) assert.throws(() => bytes.fromHex(text), TypeError, text);
  assert.ok(bytes.isKeyId('A'.repeat(43)));
  for (const text of ['A'.repeat(42), `${'A'.repeat(42)}B`, 43]) assert.ok(!bytes.isKeyId(text));
});

test('clipping keeps characters whole', () => {
  assert.equal(bytes.clip('aé', 2), 'a');
  assert.equal(bytes.clip('a😀b', 5), 'a😀');
});

test('random digits cover all ten', () => {
  const digits = bytes.randomDigits(2000);
  for (let d = 0; d < 10; d++) {
    const share = digits.split(String(d)).length - 1;
    assert.ok(share > 100 && share < 300, `${d}: ${share}`);
  }
});

test('numbers of the wire have one encoding', () => {
  for (const first of [0x01, 0x80, 0xff, 0x00]) {
    const number = new Uint8Array(32).fill(7).fill(first, 0, 1);
    assert.deepEqual(new Reader(scalar(number)).scalar(), number);
  }
  for (const bad of [[], [0], [0, 5], [0x80], Array(33).fill(1), [0, 0, 0x80]]) {
    assert.throws(() => new Reader(string(Uint8Array.from(bad))).scalar(), TypeError, String(bad));
  }
  assert.throws(() => new Reader(Uint8Array.of(0, 0, 0, 2, 1)).string(), TypeError);
  assert.throws(() => new Reader(Uint8Array.of(0xff, 0xff, 0xff, 0xff)).string(), TypeError);
});

test('JSON is UTF-8', () => {
  assert.throws(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22)), TypeError);
});

const ed25519 = (hex) => PublicKey.fromPoint('ssh-ed25519', bytes.fromHex(hex));

test('weak keys and second encodings are refused', async () => {
  for (const weak of [
    '00'.repeat(32),
    `01${'00'.repeat(31)}`,
    `01${'00'.repeat(30)}80`,
    `ec${'ff'.repeat(30)}7f`,
    `ed${'ff'.repeat(30)}7f`,
    `ee${'ff'.repeat(30)}ff`,
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  ]) {
    await assert.rejects(ed25519(weak), TypeError, weak);
  }
  await assert.rejects(PublicKey.fromPoint('ecdsa-sha2-nistp256', new Uint8Array(65).fill(4)));
});

test('a browser without ed25519 verifies with the vendored module, as strictly', async () => {
  const key = await SigningKey.generate();
  const data = bytes.utf8('data');
  const signature = await key.sign(data);
  const { subtle } = crypto;
  const { importKey } = subtle;
  const withoutEd25519 = (format, raw, algorithm, ...rest) =>
    algorithm === 'Ed25519' ? Promise.reject(new Error('NotSupported')) : importKey.call(subtle, format, raw, algorithm, ...rest);
  let asked = 0;
  subtle.importKey = withoutEd25519;
  try {
    const { PublicKey: Fresh, useEd25519 } = await import('../js/core/keys.js?without');
    useEd25519({ verifyAsync: (...all) => (asked++, noble.verifyAsync(...all)) });
    const fresh = await Fresh.fromLine(key.publicKey.line);
    assert.equal(await fresh.verify(data, signature), true);
    assert.equal(await fresh.verify(bytes.utf8('other'), signature), false);
    assert.equal(asked, 2);
  } finally {
    subtle.importKey = importKey;
  }
});

test('a browser without ed25519 signs with P-256', async () => {
  const { subtle } = crypto;
  const { generateKey } = subtle;
  subtle.generateKey = (algorithm, ...rest) =>
    algorithm === 'Ed25519' ? Promise.reject(new Error('NotSupported')) : generateKey.call(subtle, algorithm, ...rest);
  try {
    const key = await SigningKey.generate();
    assert.equal(key.publicKey.algorithm, 'ecdsa-sha2-nistp256');
    for (let i = 0; i < 20; i++) {
      const data = bytes.utf8(String(i));
      const armored = await sshsig.sign(key, sshsig.NAMESPACE.decision, data);
      assert.equal((await sshsig.verify(armored, sshsig.NAMESPACE.decision, data)).line, key.publicKey.line);
    }
  } finally {
    subtle.generateKey = generateKey;
  }
});

test('a message is verified before anything of it is parsed', async () => {
  const key = await SigningKey.generate();
  const other = await SigningKey.generate();
  const garbage = bytes.utf8('{');
  const signature = await sshsig.sign(key, sshsig.NAMESPACE.closed, garbage);
  await assert.rejects(verifyMessage('closed', garbage, signature, other.publicKey), BadSignature);
  await assert.rejects(verifyMessage('request', garbage, signature, key.publicKey), BadSignature);
  await assert.rejects(verifyMessage('closed', garbage, signature, key.publicKey), SyntaxError);
});

test('messages of other shapes are refused', async () => {
  const key = await SigningKey.generate();
  const good = { version: 1, id: 'a'.repeat(32), request: 'b'.repeat(64), outcome: 'denied', closed_at: 1 };
  const check = async (message) => {
    const body = bytes.utf8(JSON.stringify(message));
    return verifyMessage('closed', body, await sshsig.sign(key, sshsig.NAMESPACE.closed, body), key.publicKey);
  };
  assert.deepEqual(await check({ ...good, later: 1 }), good);
  const { closed_at } = await check({ ...good, closed_at: 253_402_300_799 });
  assert.equal(new Date(closed_at * 1000).toISOString(), '9999-12-31T23:59:59.000Z');
  for (const change of [
    { version: 2 },
    { id: 'a'.repeat(31) },
    { id: 'A'.repeat(32) },
    { request: null },
    { outcome: 'granted' },
    { closed_at: -1 },
    { closed_at: 1.5 },
    { closed_at: 2 ** 53 },
    { closed_at: 253_402_300_800 },
  ]) {
    await assert.rejects(check({ ...good, ...change }), TypeError, JSON.stringify(change));
  }
  await assert.rejects(check([good]), TypeError);
  await assert.rejects(check(good).then(() => check({ ...good, pad: 'x'.repeat(2048) })), TypeError);
});

test('a seal that was not padded with zeros, and envelopes of other shapes, are refused', async () => {
  const [key, own] = [await SigningKey.generate(), await generateSealKey()];
  const hash = new Uint8Array(32);
  const about = { type: /** @type {const} */ ('closed'), to: key.publicKey.id, id: 'c'.repeat(32) };
  const message = await signMessage(key, 'decision', { a: 1 });
  const sealed = await seal(key.publicKey, { key: own.publicKey, hash }, about, message);
  assert.deepEqual((await open(own, hash, key.publicKey, sealed)).body, message.body);
  for (const envelope of [
    sealed.envelope.replace('"version":1', '"version":2'),
    sealed.envelope.replace('closed', 'other'),
    sealed.envelope.replace('}', ',"more":1}'),
    sealed.envelope.replace(/"id":"c/, '"id":"C'),
    '[]',
    'null',
    ' '.repeat(513),
  ]) {
    assert.throws(() => peek({ ...sealed, envelope }), undefined, envelope);
  }
  assert.throws(() => peek({ ...sealed, sealed: sealed.sealed.slice(4) }), TypeError);
  await assert.rejects(seal(key.publicKey, { key: own.publicKey, hash }, about, { ...message, body: new Uint8Array(2049) }));
  await assert.rejects(seal(key.publicKey, { key: new Uint8Array(32), hash }, about, message), undefined, 'small order');
});

const T = 'h4e3okQlKL_t8BrTmZ51_w';
const H = '2HS8bJpYBy7bDfWIQN304coFKT0s6CVPABFLYq-IX5E';

test('links', () => {
  assert.equal(parseTicket(` https://a.example/pair#1.${T}.${H}\n`).server, 'https://a.example');
  assert.equal(parseTicket(`https://app.example/pair#1.${T}.${H}.https://a.example:8443`).server, 'https://a.example:8443');
  assert.equal(parseTicket(`http://[::1]:8443/pair#1.${T}.${H}`).server, 'http://[::1]:8443');
  assert.throws(() => parseTicket(`https://a.example/pair#2.${T}.${H}`), fault('link-version'));
  for (const bad of [
    'https://a.example/',
    `https://a.example/pair#1.${T}`,
    `https://a.example/pair#1.${T}.${H.slice(1)}`,
    `https://a.example/pair#1.${T.slice(1)}.${H}`,
    `https://a.example/pair#1.${T}.${H}.javascript:x`,
    `https://A.example/x/pair#1.${T}.${H}`,
    `https://u:p@a.example/pair#1.${T}.${H}`,
    `https://a.example:65536/pair#1.${T}.${H}`,
    `http://[::1::2]/pair#1.${T}.${H}`,
    `https://a#b/pair#1.${T}.${H}.https://b.example`,
    `#${'x'.repeat(2000)}`,
  ]) {
    assert.throws(() => parseTicket(bad), fault('bad-link'), bad);
  }
});

test('typed tickets', () => {
  assert.equal(bytes.hex(parseTicket('zzzzz-zzzzz-zzzzz-zzzzz-zzzzzw').secret), 'f'.repeat(32));
  assert.equal(bytes.hex(parseTicket('OiL00 00000 00000 00000 000000').secret), '00420000000000000000000000000000');
  for (const bad of ['', 'zzzzz', 'zzzzz-zzzzz-zzzzz-zzzzz-zzzzzz', 'uzzzz-zzzzz-zzzzz-zzzzz-zzzzzw', '0'.repeat(27)]) {
    assert.throws(() => parseTicket(bad), fault('bad-link'), bad);
  }
});

test('phone-code challenges', async () => {
  const own = await generateSealKey();
  const texts = ['sshd', 'alice', ''].map(bytes.utf8);
  const make = (reply) =>
    bytes.concat(
      Uint8Array.of(1), new Uint8Array(16).fill(9), reply, Uint8Array.of(0, 0, 1, 0, 60),
      ...texts.map((text) => bytes.concat(Uint8Array.of(text.length), text)),
    );
  const challenge = readChallenge(make(own.publicKey));
  assert.deepEqual([challenge.service, challenge.user, challenge.address], ['sshd', 'alice', '']);
  assert.deepEqual([challenge.issuedAt, challenge.ttl], [256, 60]);
  const host = new Uint8Array(32).fill(9);
  assert.match(await phoneCode(own.secret, new Uint8Array(32), host, challenge), /^[0-9]{8}$/);
  const none = readChallenge(make(new Uint8Array(32)));
  await assert.rejects(phoneCode(own.secret, new Uint8Array(32), host, none), undefined, 'all zero');
  const good = make(own.publicKey);
  for (const bad of [good.slice(0, -1), bytes.concat(good, Uint8Array.of(0)), Uint8Array.of(2, ...good.slice(1)), new Uint8Array(107)]) {
    assert.throws(() => readChallenge(bad));
  }
});
