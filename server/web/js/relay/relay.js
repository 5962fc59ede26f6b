// The server's calls, one function each, as this device.

import { prove } from '../core/auth.js';
import * as check from '../core/check.js';
import { Fault } from '../core/fault.js';
import { MAX_SEALED } from '../core/list.js';
import { octets, send, SHORT_MS, Unauthorized, whole } from './http.js';

/** @typedef {import('../core/keys.js').SigningKey} SigningKey */
/** @typedef {import('./http.js').Fetch} Fetch */
/** @typedef {import('../core/card.js').SignedCard} SignedCard */
/** @typedef {import('../engine/types.js').Sealed} Sealed */

/** A token is renewed this much before its end. */
const EARLY_S = 30;
const MAX_TOKEN_S = 600;
/** Longest wait of a long poll in seconds. */
export const MAX_POLL_S = 25;
const MAX_EVENTS = 1000;
/** Longest time in which a list comes, on a slow line. */
const LIST_MS = 30_000;
const MAX_MAILS = 8;
const MAX_MAIL = 8 * 1024;

const TOKEN = check.object({ token: check.text(4096, 1), expires_in: check.whole() });
const MAILS = check.object({ mails: check.listOf(check.text(MAX_MAIL), MAX_MAILS) });
const MAILBOX = check.object({ host: check.keyId });
const APP = check.object({ server: check.text(64), vapid: check.text(128) });
/** What a stream or a poll carries; opening it tells what it is. */
export const SEALED = check.object({ envelope: check.text(1024), sealed: check.text(8192) });
const POLLED = check.object({
  cursor: check.text(128, 1),
  events: check.listOf(check.object({ event: check.text(32), data: SEALED }), MAX_EVENTS),
});

/** A server, to a device. */
export class Relay {
  /** @type {{value: string, until: number}|undefined} */
  #token;
  /** @type {Promise<string>|undefined} */
  #earning;

  /**
   * @param {string} origin
   * @param {{fetch?: Fetch, key?: SigningKey}} [options]
   */
  constructor(origin, { fetch = (url, init) => globalThis.fetch(url, init), key } = {}) {
    this.origin = origin;
    this.fetch = fetch;
    this.key = key;
  }

  /** Whether the device has a key to speak with. @param {SigningKey|undefined} key */
  use(key) {
    this.key = key;
    this.#token = undefined;
    this.#earning = undefined;
  }

  /**
   * @param {string} mailbox
   * @param {SignedCard} card
   */
  async register(mailbox, card) {
    await this.#open('POST', '/v1/devices', { mailbox, card });
  }

  /** @param {SignedCard} card */
  async putCard(card) {
    await this.#call('PUT', '/v1/devices/self', card);
  }

  /** @param {Sealed} message a decision or a removal */
  async postDecision(message) {
    await this.#call('POST', '/v1/decisions', { decision: { envelope: message.envelope, sealed: message.sealed } });
  }

  /**
   * @param {string} host key id
   * @param {string} id of its request
   * @returns {Promise<import('../core/bytes.js').Bytes>} the encrypted list
   */
  list(host, id) {
    const url = `${this.origin}/v1/lists/${host}/${id}`;
    return this.#authorized((token) => octets(this.fetch, { method: 'GET', url, token }, MAX_SEALED, LIST_MS));
  }

  /** @param {string} host key id */
  async unlinkHost(host) {
    await this.#call('DELETE', `/v1/hosts/${host}`).catch((/** @type {unknown} */ error) => {
      // No such link: that is what was wanted.
      if (!(error instanceof Fault && error.status === 404)) throw error;
    });
  }

  /** @param {{endpoint: string, p256dh: string, auth: string}} subscription */
  async putPush(subscription) {
    await this.#call('PUT', '/v1/devices/self/push', subscription);
  }

  async deletePush() {
    await this.#call('DELETE', '/v1/devices/self/push');
  }

  /** @returns {Promise<{server: string, vapid: string}>} */
  async app() {
    return shaped(APP, await this.#open('GET', '/v1/app'));
  }

  /**
   * @param {string} mailbox
   * @returns {Promise<string>} the host's key id
   */
  async mailboxHost(mailbox) {
    return shaped(MAILBOX, await atMailbox(this.#open('GET', `/v1/mailboxes/${mailbox}`))).host;
  }

  /**
   * @param {string} mailbox
   * @param {string} data
   */
  async postFirst(mailbox, data) {
    await atMailbox(this.#open('POST', `/v1/mailboxes/${mailbox}/m1`, { data }));
  }

  /**
   * @param {string} mailbox
   * @param {'m2'|'m3'} slot
   * @param {AbortSignal} signal
   * @returns {Promise<string|undefined>} what the host put there, once it is there
   */
  async mail(mailbox, slot, signal) {
    const url = `${this.origin}/v1/mailboxes/${mailbox}/${slot}?wait=${MAX_POLL_S}`;
    const answer = whole(this.fetch, { method: 'GET', url, signal }, SHORT_MS + MAX_POLL_S * 1000);
    return shaped(MAILS, await atMailbox(answer)).mails[0];
  }

  /**
   * @param {string|undefined} cursor
   * @param {AbortSignal} signal
   * @returns {Promise<{cursor: string, events: {event: string, data: Sealed}[]}>}
   */
  async poll(cursor, signal) {
    const [wait, after] = cursor === undefined ? [0, ''] : [MAX_POLL_S, `&after=${encodeURIComponent(cursor)}`];
    return this.#authorized(async (token) => {
      const url = `${this.origin}/v1/poll?wait=${wait}${after}`;
      return shaped(POLLED, await whole(this.fetch, { method: 'GET', url, token, signal }, SHORT_MS + wait * 1000));
    });
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<Response>} its head is there
   */
  stream(signal) {
    const [url, accept] = [`${this.origin}/v1/stream`, 'text/event-stream'];
    return this.#authorized((token) => send(this.fetch, { method: 'GET', url, accept, token, signal }));
  }

  /** Earns a token, if there is none. */
  async token() {
    if (this.#token && Date.now() < this.#token.until) return this.#token.value;
    this.#earning ??= this.#earn().finally(() => {
      this.#earning = undefined;
    });
    return this.#earning;
  }

  async #earn() {
    const { key } = this;
    if (!key) throw new Fault('keys');
    const challenge = await this.#open('POST', '/v1/auth/challenge', { key: key.publicKey.line });
    /** @type {{statement: string, signature: string}} */
    let proof;
    try {
      proof = await prove(key, this.origin, challenge);
    } catch (error) {
      throw new Fault('server', String(error));
    }
    const { token, expires_in } = shaped(TOKEN, await this.#open('POST', '/v1/auth/token', proof));
    const life = Math.min(expires_in, MAX_TOKEN_S) - EARLY_S;
    if (key === this.key) this.#token = { value: token, until: Date.now() + life * 1000 };
    return token;
  }

  /**
   * With a token, and with a new one when the server does not know it any more.
   * @template T
   * @param {(token: string) => Promise<T>} body
   * @returns {Promise<T>}
   */
  async #authorized(body) {
    const token = await this.token();
    try {
      return await body(token);
    } catch (error) {
      if (!(error instanceof Unauthorized)) throw error;
      if (this.#token?.value === token) this.#token = undefined;
      return body(await this.token());
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   */
  #call(method, path, body) {
    return this.#authorized((token) => whole(this.fetch, { method, url: this.origin + path, body, token }));
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   */
  #open(method, path, body) {
    return whole(this.fetch, { method, url: this.origin + path, body });
  }
}

/**
 * @param {Promise<unknown>} answer
 * @returns {Promise<unknown>}
 */
async function atMailbox(answer) {
  return answer.catch((error) => {
    throw error instanceof Fault && error.status === 404 ? new Fault('mailbox-closed') : error;
  });
}

/**
 * @param {check.Check} shape
 * @param {unknown} answer
 */
function shaped(shape, answer) {
  try {
    return shape(answer);
  } catch (error) {
    throw new Fault('server', String(error));
  }
}
