// The protocol's test vectors, for node and for browsers alike.

import * as bytes from '../js/core/bytes.js';
import { prove } from '../js/core/auth.js';
import { signCard, verifyCard } from '../js/core/card.js';
import { deriveSecret } from '../js/core/hpke.js';
import { PublicKey, SigningKey } from '../js/core/keys.js';
import { openList } from '../js/core/list.js';
import { digest, noticeId, signMessage, verifyMessage } from '../js/core/messages.js';
import { PhonePairing } from '../js/core/pairing.js';
import { phoneCode, readChallenge, requestCode } from '../js/core/phone_code.js';
import { open, seal, sealInfo } from '../js/core/seal.js';
import * as sshsig from '../js/core/sshsig.js';
import { derive, mailboxId, parseTicket } from '../js/core/ticket.js';

/** @typedef {import('../js/core/bytes.js').Bytes} Bytes */
/** @typedef {(name: string) => Promise<any>} LoadJson `keys` for keys.json */
/** @typedef {{name: string, ok: boolean, why: string}} Result */

/** What stands before the 32 bytes of a private key in PKCS #8. */
const PKCS8 = { Ed25519: '302e020100300506032b657004220420', X25519: '302e020100300506032b656e04220420' };

/**
 * @param {'Ed25519'|'X25519'} algorithm
 * @param {Uint8Array} secret
 * @returns {Promise<{secret: CryptoKey, publicKey: Bytes}>}
 */
async function importSecret(algorithm, secret) {
  const use = /** @type {KeyUsage[]} */ (algorithm === 'Ed25519' ? ['sign'] : ['deriveBits']);
  const pkcs8 = bytes.concat(bytes.fromHex(PKCS8[algorithm]), secret);
  const key = await crypto.subtle.importKey('pkcs8', pkcs8, algorithm, true, use);
  const { x = '' } = await crypto.subtle.exportKey('jwk', key);
  return { secret: key, publicKey: bytes.fromBase64url(x) };
}

/** @param {string} seed */
async function signingKey(seed) {
  const { secret, publicKey } = await importSecret('Ed25519', bytes.fromHex(seed));
  return new SigningKey(await PublicKey.fromPoint('ssh-ed25519', publicKey), secret);
}

/** @param {string} hex */
const sealKey = (hex) => importSecret('X25519', bytes.fromHex(hex));

/** @param {string} ikm @returns {Promise<CryptoKeyPair>} */
async function ephemeral(ikm) {
  const { secret, publicKey } = await importSecret('X25519', await deriveSecret(bytes.fromHex(ikm)));
  return { privateKey: secret, publicKey: await crypto.subtle.importKey('raw', publicKey, 'X25519', true, []) };
}

/**
 * @param {unknown} actual
 * @param {unknown} expected
 * @param {string} [what]
 */
function same(actual, expected, what = 'value') {
  const [a, b] = [JSON.stringify(actual, sorted), JSON.stringify(expected, sorted)];
  if (a !== b) throw new Error(`${what}: ${a} is not ${b}`);
}

/** Objects are equal in any order of their fields. @param {string} _ @param {unknown} value */
function sorted(_, value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** @param {Promise<unknown>} promise @param {string} what */
async function refuses(promise, what) {
  const accepted = await promise.then(
    () => true,
    () => false,
  );
  if (accepted) throw new Error(`${what} was accepted`);
}

/** @type {Record<string, (load: LoadJson) => Promise<void>>} */
const CASES = {
  async keys(load) {
    for (const { line, blob, id, fingerprint, seed } of await load('keys')) {
      const key = await PublicKey.fromLine(line);
      same([bytes.hex(key.blob), key.id, key.fingerprint], [blob, id, fingerprint]);
      if (seed) same((await signingKey(seed)).publicKey.line, line);
      await refuses(PublicKey.fromLine(`${line} comment`), 'a key with a comment');
    }
  },

  async 'valid SSH signatures'(load) {
    for (const { key, namespace, data, signature } of (await load('sshsig')).valid) {
      const by = await sshsig.verify(signature, namespace, bytes.utf8(data));
      same(by.line, key);
    }
  },

  async 'refused SSH signatures'(load) {
    for (const { why, namespace, data, signature } of (await load('sshsig')).refused) {
      await refuses(sshsig.verify(signature, namespace, bytes.utf8(data)), why);
    }
  },

  async 'made SSH signatures'(load) {
    const seeds = new Map((await load('keys')).map((/** @type {any} */ k) => [k.line, k.seed]));
    for (const { key, namespace, data, signature } of (await load('sshsig')).valid) {
      const seed = seeds.get(key);
      if (seed) same(await sshsig.sign(await signingKey(seed), namespace, bytes.utf8(data)), signature);
    }
  },

  async 'opening sealed messages'(load) {
    const { notice, removal } = await load('notice');
    for (const c of [...(await load('seal')), notice, removal]) {
      const sender = await PublicKey.fromLine(c.sender);
      const [own, hash] = [await sealKey(c.recipient_secret), bytes.fromHex(c.recipient_hash)];
      same(bytes.hex(own.publicKey), c.recipient_public);
      same(bytes.hex(sealInfo(c.type, sender, hash)), c.info);
      const { envelope, body, signature } = await open(own, hash, sender, c.sealed);
      same([envelope.type, bytes.fromUtf8(body), signature], [c.type, c.message.body, c.message.signature]);
      same(await digest(body), c.message.digest);
      const { envelope: text, sealed } = c.sealed;
      await refuses(open(own, sender.hash, sender, c.sealed), 'another recipient');
      await refuses(open(own, hash, sender, { envelope: text.replace(/.(?="})/, 'e'), sealed }), 'another envelope');
      await refuses(open(own, hash, sender, { envelope: text, sealed: sealed.slice(4) + 'AAAA' }), 'other bytes');
    }
  },

  async 'sealing messages'(load) {
    const { notice, removal } = await load('notice');
    for (const c of [...(await load('seal')), notice, removal]) {
      const { to, id } = JSON.parse(c.sealed.envelope);
      const made = await seal(
        await PublicKey.fromLine(c.sender),
        { key: bytes.fromHex(c.recipient_public), hash: bytes.fromHex(c.recipient_hash) },
        { type: c.type, to, id },
        { body: bytes.utf8(c.message.body), signature: c.message.signature },
        await ephemeral(c.ephemeral_ikm),
      );
      same(made, c.sealed);
    }
  },

  async messages(load) {
    const [keys, { request, decision }] = [await load('keys'), await load('messages')];
    const host = await PublicKey.fromLine(keys[0].line);
    const verified = await verifyMessage('request', bytes.utf8(request.body), request.signature, host);
    same(verified, { ...verified, ...JSON.parse(request.body) });
    const device = await signingKey(keys[1].seed);
    const made = await signMessage(device, 'decision', JSON.parse(decision.body));
    same([bytes.fromUtf8(made.body), made.signature], [decision.body, decision.signature]);
    const other = verifyMessage('request', bytes.utf8(request.body), request.signature, device.publicKey);
    await refuses(other, 'another signer');
  },

  async 'notice and removal'(load) {
    const [keys, { notice, removal, id, user }] = [await load('keys'), await load('notice')];
    const host = await PublicKey.fromLine(notice.sender);
    const read = await verifyMessage('notice', bytes.utf8(notice.message.body), notice.message.signature, host);
    same(read, JSON.parse(notice.message.body));
    same([read.id, await noticeId(user)], [id, id]);
    const made = await signMessage(await signingKey(keys[1].seed), 'removal', JSON.parse(removal.message.body));
    same([bytes.fromUtf8(made.body), made.signature], [removal.message.body, removal.message.signature]);
  },

  async 'phone codes'(load) {
    const c = await load('phone_code');
    const [host, card, own] = [await PublicKey.fromLine(c.host_key), bytes.fromHex(c.card_digest), await sealKey(c.device_seal_secret)];
    for (const { challenge, code, service, user, address, time, ttl } of c.valid) {
      const read = readChallenge(bytes.fromHex(challenge));
      same([read.service, read.user, read.address, read.issuedAt, read.ttl], [service, user, address, time, ttl]);
      same(await phoneCode(own.secret, card, host.hash, read), code);
    }
    for (const { reply_key, digest, code } of c.requests) {
      same(await requestCode(own.secret, card, host.hash, bytes.fromHex(reply_key), digest), code);
    }
    for (const { challenge, why } of c.refused) {
      const code = async () => phoneCode(own.secret, card, host.hash, readChallenge(bytes.fromHex(challenge)));
      await refuses(code(), why);
    }
  },

  async lists(load) {
    const { id, nonce, valid, text, refused } = await load('list');
    /** @param {import('../js/core/list.js').List} list @param {string} text */
    const sealed = async (list, text) => {
      const padded = bytes.concat(bytes.utf8(text), new Uint8Array((16_384 - (list.bytes % 16_384)) % 16_384));
      const key = await crypto.subtle.importKey('raw', bytes.fromBase64(list.key), 'AES-GCM', false, ['encrypt']);
      const how = { name: 'AES-GCM', iv: bytes.fromHex(nonce), additionalData: bytes.utf8(id) };
      return bytes.concat(bytes.fromHex(nonce), new Uint8Array(await crypto.subtle.encrypt(how, key, padded)));
    };
    for (const { list, text, bytes: length, start, tag } of valid) {
      const all = await sealed(list, text);
      same([all.length, bytes.hex(all.slice(0, 64)), bytes.hex(all.slice(-16))], [length, start, tag]);
      same(await openList(list, id, all), text);
      const changed = bytes.concat(all);
      changed[100] = (changed[100] ?? 0) ^ 1;
      await refuses(openList(list, id, changed), 'a changed list');
      await refuses(openList(list, id.replace('0', '1'), all), 'the list of another request');
      await refuses(openList(list, id, bytes.concat(all, new Uint8Array(16_384))), 'a longer list');
    }
    const known = valid.find((/** @type {{text: string}} */ one) => one.text === text);
    for (const { why, list } of refused) await refuses(openList(list, id, await sealed(known.list, text)), why);
  },

  async 'device card'(load) {
    const [keys, { card, card_digest }] = [await load('keys'), await load('messages')];
    const read = await verifyCard(card);
    same(bytes.hex(read.hash), card_digest);
    const made = await signCard(await signingKey(keys[1].seed), read.seal, read.card.serial, read.card.name);
    same(made, card);
    await refuses(verifyCard({ ...card, card: card.card.replace('"serial":1', '"serial":2') }), 'an altered card');
  },

  async authentication(load) {
    const [keys, { auth }] = [await load('keys'), await load('messages')];
    same(await prove(await signingKey(keys[1].seed), auth.origin, auth.challenge), auth.proof);
  },

  async pairing(load) {
    const c = await load('pairing');
    const ticket = parseTicket(c.link);
    same(ticket.server, new URL(c.link).origin);
    same(parseTicket(c.link_with_server), ticket);
    same(bytes.hex(parseTicket(c.typed).secret), bytes.hex(ticket.secret));
    same(c.mailbox_host, (await PublicKey.fromLine(c.host.key)).id);
    const secrets = await derive(ticket.secret);
    same(mailboxId(secrets), c.mailbox);
    const host = await PublicKey.fromLine(c.host.key);
    same(bytes.hex(ticket.host ?? new Uint8Array(0)), bytes.hex(host.hash));
    const device = (await verifyCard(c.card)).key;
    const fresh = bytes.fromHex(c.m1_fresh);
    const phone = await PhonePairing.begin(ticket.secret, host.hash, c.card, device.id, fresh);
    same(await phone.first(bytes.fromHex(c.m1_nonce)), c.m1);
    await refuses(phone.receipt(await sealKey(c.device_seal_secret), c.m3), 'a receipt before the reveal');
    const revealed = await phone.reveal(c.m2);
    same([revealed.code, revealed.host, revealed.user], [c.code, c.host, c.user]);
    const pinned = await phone.receipt(await sealKey(c.device_seal_secret), c.m3);
    same([pinned.host, pinned.key.line, pinned.user], [c.host, c.host.key, c.user]);
    const later = await PhonePairing.begin(ticket.secret, device.hash, c.card, device.id, fresh);
    await refuses(later.reveal(c.m2), 'a host that is not the one of the link');
  },
};

/**
 * @param {LoadJson} loadJson
 * @returns {Promise<Result[]>}
 */
export async function run(loadJson) {
  const results = [];
  for (const [name, test] of Object.entries(CASES)) {
    const why = await test(loadJson).then(
      () => '',
      (error) => String(error),
    );
    results.push({ name, ok: why === '', why });
  }
  return results;
}
