// The device's side of pairing: both keys get known through a relay that nobody trusts.

import { base64, concat, decimal, equal, fromBase64, hex, hmac, random, sha256, utf8 } from './bytes.js';
import * as check from './check.js';
import { Fault } from './fault.js';
import { PublicKey } from './keys.js';
import { CODE_DIGITS, verifyMessage } from './messages.js';
import { open } from './seal.js';
import { derive, mailboxId } from './ticket.js';

/** @typedef {import('./bytes.js').Bytes} Bytes */
/** @typedef {import('./ticket.js').Secrets} Secrets */
/** @typedef {{name: string, key: string}} Host */

const TICKET_LABEL = utf8('countersign pair v1');
const CODE_LABEL = utf8('countersign pair code v1');
/** Longest message in a mailbox. */
const MAX_MAIL = 8 * 1024;
const NONCE = 12;
const FRESH = 16;

const REVEAL = check.object({
  version: check.oneOf(check.VERSION),
  n: check.text(64),
  host: check.object({ name: check.text(256, 1), key: check.text(512) }),
  user: check.text(256, 1),
});

/** A pairing at the phone: `begin`, `reveal`, `receipt`, each once. */
export class PhonePairing {
  /**
   * @param {Uint8Array} t the ticket's secret
   * @param {Uint8Array} hostHash SHA-256 of the host's key
   * @param {Secrets} secrets
   * @param {Bytes} plaintext of m1
   * @param {Bytes} cardHash
   * @param {string} deviceId
   */
  constructor(t, hostHash, secrets, plaintext, cardHash, deviceId) {
    this.t = t;
    this.hostHash = hostHash;
    this.secrets = secrets;
    this.plaintext = plaintext;
    this.cardHash = cardHash;
    this.deviceId = deviceId;
    this.mailbox = mailboxId(secrets);
    /** @type {{host: Host, key: PublicKey, user: string}|undefined} */
    this.revealed = undefined;
  }

  /**
   * @param {Uint8Array} t
   * @param {Uint8Array} hostHash
   * @param {import('./card.js').SignedCard} card
   * @param {string} deviceId
   * @param {Uint8Array} [fresh] for test vectors. The code must not be foreseeable by whoever knows the card: with a
   *   typed ticket `hostHash` is the relay's word.
   */
  static async begin(t, hostHash, card, deviceId, fresh = random(FRESH)) {
    const plaintext = utf8(JSON.stringify({ card: card.card, signature: card.signature, fresh: base64(fresh) }));
    const cardHash = await sha256(utf8(card.card));
    return new PhonePairing(t, hostHash, await derive(t), plaintext, cardHash, deviceId);
  }

  /**
   * m1, for the mailbox: the same bytes again at each call would need the same nonce, so it is called once.
   * @param {Uint8Array} [nonce] for test vectors
   * @returns {Promise<string>}
   */
  async first(nonce = random(NONCE)) {
    const aad = concat(this.secrets.mailbox, this.hostHash);
    return encrypt(this.secrets.card, nonce, aad, this.plaintext);
  }

  /**
   * m2: the host shows itself, and the code follows.
   * @param {string} mail
   * @returns {Promise<{code: string, host: Host, key: PublicKey, user: string}>} throws a Fault
   */
  async reveal(mail) {
    const firstHash = await sha256(this.plaintext);
    const plaintext = await decrypt(this.secrets.reveal, firstHash, mail);
    const { n, host, key, user } = await this.#check(plaintext);
    const tag = await hmac(n, CODE_LABEL, key.hash, firstHash);
    this.revealed = { host, key, user };
    return { code: decimal(tag.slice(0, 8), CODE_DIGITS), host, key, user };
  }

  /** @param {Bytes} plaintext */
  async #check(plaintext) {
    try {
      /** @type {{n: string, host: Host, user: string}} */
      const { n: encoded, host, user } = REVEAL(check.parseJson(plaintext));
      const n = fromBase64(encoded);
      const key = await PublicKey.fromLine(host.key);
      const t = (await sha256(concat(TICKET_LABEL, n))).slice(0, 16);
      if (n.length === 32 && equal(t, this.t) && equal(key.hash, this.hostHash)) return { n, host, key, user };
    } catch {
      // Said below.
    }
    throw new Fault('contradiction');
  }

  /**
   * m3: only with it the host is trusted.
   * @param {import('./hpke.js').SealKey} sealKey
   * @param {string} mail
   * @returns {Promise<{host: Host, key: PublicKey, user: string, pairedAt: number}>} throws a Fault
   */
  async receipt(sealKey, mail) {
    const { revealed } = this;
    if (!revealed || mail.length > MAX_MAIL) throw new Fault('receipt');
    try {
      const opened = await open(sealKey, this.cardHash, revealed.key, JSON.parse(mail));
      const { envelope, body, signature } = opened;
      if (envelope.type !== 'receipt') throw new TypeError('another type');
      const receipt = await verifyMessage('receipt', body, signature, revealed.key);
      const fits =
        envelope.id === this.mailbox &&
        envelope.to === this.deviceId &&
        receipt.host.name === revealed.host.name &&
        receipt.host.key === revealed.host.key &&
        receipt.user === revealed.user &&
        receipt.card === hex(this.cardHash);
      if (fits) return { ...revealed, pairedAt: receipt.paired_at };
    } catch {
      // Said below.
    }
    throw new Fault('receipt');
  }
}

/**
 * @param {Bytes} key
 * @param {Uint8Array} nonce
 * @param {Uint8Array} aad
 * @param {Uint8Array} plaintext
 */
async function encrypt(key, nonce, aad, plaintext) {
  const aes = await crypto.subtle.importKey('raw', key, 'AES-GCM', false, ['encrypt']);
  const parameters = { name: 'AES-GCM', iv: concat(nonce), additionalData: concat(aad) };
  return base64(concat(nonce, new Uint8Array(await crypto.subtle.encrypt(parameters, aes, concat(plaintext)))));
}

/**
 * @param {Bytes} key
 * @param {Uint8Array} aad
 * @param {string} mail
 */
async function decrypt(key, aad, mail) {
  try {
    const bytes = mail.length > MAX_MAIL ? new Uint8Array(0) : fromBase64(mail);
    const aes = await crypto.subtle.importKey('raw', key, 'AES-GCM', false, ['decrypt']);
    const parameters = { name: 'AES-GCM', iv: bytes.slice(0, NONCE), additionalData: concat(aad) };
    return new Uint8Array(await crypto.subtle.decrypt(parameters, aes, bytes.slice(NONCE)));
  } catch {
    throw new Fault('reveal');
  }
}
