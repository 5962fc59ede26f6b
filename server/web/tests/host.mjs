// A machine and a server, as far as an approver sees them: the machine signs and seals, the server carries.

import { base64, base64url, concat, decimal, fromBase64, hex, hmac, random, sha256, utf8 } from '../js/core/bytes.js';
import { verifyCard } from '../js/core/card.js';
import { generateSealKey } from '../js/core/hpke.js';
import { SigningKey } from '../js/core/keys.js';
import { digest, noticeId } from '../js/core/messages.js';
import { open, peek, seal } from '../js/core/seal.js';
import * as sshsig from '../js/core/sshsig.js';
import { derive, mailboxId } from '../js/core/ticket.js';

export const ORIGIN = 'https://push.example.com';

const gcm = async (key, use) => crypto.subtle.importKey('raw', key, 'AES-GCM', false, [use]);

export class Host {
  static async make(name = 'db-1', now = () => Date.now()) {
    const host = new Host();
    Object.assign(host, { key: await SigningKey.generate(), name, now, replies: [] });
    host.id = host.key.publicKey.id;
    return host;
  }

  get seconds() {
    return Math.floor(this.now() / 1000);
  }

  /** A message to the device, signed in the namespace of its type unless a test says otherwise. */
  async send(type, message, { key = this.key, envelope = {}, namespace = type, card = this.card } = {}) {
    const body = utf8(JSON.stringify(message));
    const signature = await sshsig.sign(key, sshsig.NAMESPACE[namespace], body);
    const about = { type, to: card.key.id, id: message.id, ...envelope };
    const sealed = await seal(this.key.publicKey, { key: card.seal, hash: card.hash }, about, { body, signature });
    return { sealed, digest: await digest(body), message };
  }

  async request(change = {}, how = {}) {
    const reply = await generateSealKey();
    const message = {
      version: 1, id: hex(random(16)), reply_key: base64(reply.publicKey),
      host: { name: this.name, key: this.key.publicKey.line },
      user: 'alice', uid: 1000, service: 'sudo', kind: 'command', command: 'sudo ls',
      issued_at: this.seconds, expires_in: 60, confirm: 'code', approvals: { needed: 1, from: ['alice'] }, ...change,
    };
    this.replies.push(reply);
    return this.send('request', message, how);
  }

  /** A list for a request with that id: what the request says of it, and its encrypted form. */
  async list(text, id) {
    const [secret, iv, plain] = [random(16), random(12), utf8(text)];
    const padded = concat(plain, new Uint8Array((16_384 - (plain.length % 16_384)) % 16_384));
    const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: utf8(id) }, await gcm(secret, 'encrypt'), padded);
    const lines = text.replace(/\n$/, '').split('\n').length;
    const list = { sha256: hex(await sha256(plain)), bytes: plain.length, lines, key: base64(secret) };
    return { list, sealed: concat(iv, new Uint8Array(sealed)) };
  }

  closed({ digest: request, message }, outcome = 'approved', how = {}) {
    return this.send('closed', { version: 1, id: message.id, request, outcome, closed_at: this.seconds }, how);
  }

  async notice(devices, { event, issued_at = this.seconds, user = 'alice' } = {}) {
    const reply = await generateSealKey();
    const message = {
      version: 1, id: await noticeId(user), user, reply_key: base64(reply.publicKey), ...(event && { event }), devices, issued_at,
    };
    this.replies.push(reply);
    return this.send('notice', message);
  }

  /** Opens and verifies what a device has posted; gives the message. */
  async read(sealed) {
    const { type, to } = peek(sealed);
    if (to !== this.id) throw new Error('for another host');
    const openWith = async (reply) => open(reply, await sha256(reply.publicKey), this.card.key, sealed);
    const { body, signature } = await Promise.any(this.replies.map(openWith));
    const by = await sshsig.verify(signature, sshsig.NAMESPACE[type], body);
    if (by.id !== this.card.key.id) throw new Error('by another device');
    return JSON.parse(new TextDecoder().decode(body));
  }

  /** Opens a pairing at the server. */
  async pair(server, user = 'alice') {
    const n = random(32);
    const t = (await sha256(concat(utf8('countersign pair v1'), n))).slice(0, 16);
    const secrets = await derive(t);
    const box = { host: this.id, m1: [], m2: [], m3: [] };
    server.mailboxes.set(mailboxId(secrets), box);
    const link = `${ORIGIN}/pair#1.${base64url(t)}.${base64url(this.key.publicKey.hash)}`;
    return { link, box, secrets, n, user, t };
  }

  /** Answers the first m1; gives the code that the person types. */
  async reveal({ box, secrets, n, user }, change = {}) {
    const mail = fromBase64(box.m1[0]);
    const additionalData = concat(secrets.mailbox, this.key.publicKey.hash);
    const parameters = { name: 'AES-GCM', iv: mail.slice(0, 12), additionalData };
    const plaintext = new Uint8Array(
      await crypto.subtle.decrypt(parameters, await gcm(secrets.card, 'decrypt'), mail.slice(12)),
    );
    this.card = await verifyCard(JSON.parse(new TextDecoder().decode(plaintext)));
    const hash = await sha256(plaintext);
    const host = { name: this.name, key: this.key.publicKey.line };
    const message = utf8(JSON.stringify({ version: 1, n: base64(n), host, user, ...change }));
    const iv = random(12);
    const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: hash }, await gcm(secrets.reveal, 'encrypt'), message);
    box.m2.push(base64(concat(iv, new Uint8Array(sealed))));
    return decimal((await hmac(n, utf8('countersign pair code v1'), this.key.publicKey.hash, hash)).slice(0, 8), 6);
  }

  async receipt({ box, secrets, user }, change = {}) {
    const host = { name: this.name, key: this.key.publicKey.line };
    const message = { version: 1, host, user, card: hex(this.card.hash), paired_at: this.seconds, ...change };
    const { sealed } = await this.send('receipt', message, { envelope: { id: mailboxId(secrets) } });
    box.m3.push(JSON.stringify(sealed));
  }
}

/** The server, behind `fetch`. */
export class Server {
  mailboxes = new Map();
  decisions = [];
  devices = [];
  unlinked = [];
  cards = [];
  held = [];
  /** Encrypted lists by `HOST/ID`, and how often one was asked for. */
  lists = new Map();
  listsAsked = 0;
  #streams = new Set();
  /** What a test may put in place of an answer: `METHOD PATH` to a status. */
  broken = new Map();

  fetch = async (url, { method = 'GET', body = null, signal, headers = {} } = {}) => {
    const { pathname } = new URL(url);
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (signal?.aborted) throw new DOMException('aborted', 'AbortError');
    const status = this.broken.get(`${method} ${pathname}`) ?? this.broken.get('*');
    if (status === 'network') throw new TypeError('failed to fetch');
    if (status) return this.#json({ code: 'broken', message: 'no' }, status);
    return this.#route(method, pathname, body && JSON.parse(body), signal, headers);
  };

  #json(value, status = 200) {
    return new Response(status === 204 ? null : JSON.stringify(value), { status });
  }

  async #route(method, path, body, signal) {
    if (path.startsWith('/v1/lists/')) {
      this.listsAsked += 1;
      const sealed = this.lists.get(path.slice('/v1/lists/'.length));
      return sealed ? new Response(sealed) : this.#json({ code: 'not-found', message: 'no' }, 404);
    }
    const [, slotOf, slot] = /^\/v1\/mailboxes\/([0-9a-f]{32})\/?(m[123])?$/.exec(path) ?? [];
    if (slotOf) return this.#mailbox(method, this.mailboxes.get(slotOf), slot, body, signal);
    switch (`${method} ${path}`) {
      case 'POST /v1/auth/challenge':
        return this.#json({ nonce: 'n', expires_at: 2 ** 40 });
      case 'POST /v1/auth/token':
        return this.#json({ token: 't', expires_in: 600 });
      case 'GET /v1/app':
        return this.#json({ server: '1.0.0', vapid: 'AAAA' });
      case 'POST /v1/devices':
        this.devices.push(body);
        return this.#json({}, this.mailboxes.has(body.mailbox) ? 201 : 403);
      case 'PUT /v1/devices/self':
        this.cards.push(body);
        return this.#json({}, 204);
      case 'POST /v1/decisions':
        this.decisions.push(body.decision);
        return this.#json({}, 202);
      case 'GET /v1/stream':
        return this.#stream(signal);
      default:
        if (method === 'DELETE') {
          this.unlinked.push(path);
          return this.#json({}, 204);
        }
        return this.#json({ code: 'not-found', message: 'no' }, 404);
    }
  }

  async #mailbox(method, box, slot, body, signal) {
    if (!box) return this.#json({ code: 'not-found', message: 'no' }, 404);
    if (!slot) return this.#json({ host: box.host });
    if (method === 'POST') {
      if (box.m2.length > 0) return this.#json({ code: 'taken', message: 'no' }, 409);
      box.m1.push(body.data);
      return this.#json({}, 201);
    }
    for (let i = 0; i < 400 && box[slot].length === 0 && !box.gone; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (signal?.aborted) throw new DOMException('aborted', 'AbortError');
    }
    return box.gone ? this.#json({ code: 'not-found', message: 'no' }, 404) : this.#json({ mails: box[slot] });
  }

  #stream(signal) {
    let own;
    const stream = new ReadableStream({
      start: (controller) => {
        own = controller;
        this.#streams.add(controller);
        controller.enqueue(utf8('event: hello\ndata: {"server":"1","epoch":"e"}\n\n'));
        for (const sealed of this.held) controller.enqueue(utf8(`event: message\ndata: ${JSON.stringify(sealed)}\n\n`));
      },
      cancel: () => this.#streams.delete(own),
    });
    signal?.addEventListener('abort', () => {
      if (this.#streams.delete(own)) own.error(new DOMException('aborted', 'AbortError'));
    });
    return new Response(stream);
  }

  get isListening() {
    return this.#streams.size > 0;
  }

  /** A message comes on the open stream, and is held for the next. */
  push({ sealed }) {
    this.held.push(sealed);
    for (const stream of this.#streams) stream.enqueue(utf8(`event: message\ndata: ${JSON.stringify(sealed)}\n\n`));
  }

  /** The connection breaks. */
  drop() {
    for (const stream of this.#streams) stream.close();
    this.#streams.clear();
  }
}
