// A pairing under way, at the phone: from the link to the pinned machine.

import { base64url, clip, fromBase64url } from '../core/bytes.js';
import { asFault, Fault } from '../core/fault.js';
import { MAX_DEVICE_NAME } from '../core/messages.js';
import { PhonePairing } from '../core/pairing.js';
import { derive, mailboxId } from '../core/ticket.js';
import { pause } from '../relay/listener.js';

/** @typedef {import('../core/ticket.js').Ticket} Ticket */
/** @typedef {import('./types.js').Pairing} Pairing */
/** @typedef {import('./types.js').FaultCode} FaultCode */
/** @typedef {import('./device.js').Device} Device */
/** @typedef {import('./machines.js').MachineRecord} MachineRecord */

/** How long the host waits. */
const LIFE_MS = 300_000;
/** Between two tries while the server is out of reach. */
const PAUSE_MS = 1_000;
/** How often a full mailbox is tried. */
const MAX_FULL = 3;
/** Web Push gets this long after everything else before the pairing is called done without it. */
const PUSH_MS = 5_000;

/**
 * What a session needs of the engine.
 * @typedef {object} Desk
 * @property {string} server
 * @property {import('../relay/relay.js').Relay} relay
 * @property {import('./store.js').Store} store
 * @property {(name: string) => Promise<Device>} deviceNamed makes the device, or gives it this name
 * @property {() => Promise<void>} askPermission
 * @property {() => Promise<void>} subscribe
 * @property {() => void} registered the server knows the device now
 * @property {() => Promise<void>} pinned the machine is in the store
 */

/** @implements {Pairing} */
export class PairingSession extends EventTarget {
  #controller = new AbortController();
  #ticket;
  #desk;

  /**
   * @param {Ticket} ticket
   * @param {Desk} desk
   */
  constructor(ticket, desk) {
    super();
    this.#ticket = ticket;
    this.#desk = desk;
    /** @type {Pairing['step']} */
    this.step = 'ready';
    this.server = desk.server;
    this.endsAt = desk.store.clock.wall() + LIFE_MS;
    /** @type {Pairing['code']} */
    this.code = undefined;
    /** @type {Pairing['host']} */
    this.host = undefined;
    /** @type {Pairing['user']} */
    this.user = undefined;
    /** @type {Pairing['sameName']} */
    this.sameName = undefined;
    /** @type {FaultCode|undefined} */
    this.fault = undefined;
  }

  /**
   * To be called in a tap: with `notify` the browser asks the person first.
   * @param {{name: string, notify: boolean}} options
   * @returns {Promise<void>} when it is done or has failed: `step` says which
   */
  async start({ name, notify }) {
    if (this.step !== 'ready') return;
    const permission = notify ? this.#desk.askPermission() : undefined;
    // Looked at later, or not at all when the pairing fails before.
    permission?.catch(() => undefined);
    this.#show({ step: 'sending' });
    const timer = setTimeout(() => this.#controller.abort(), this.endsAt - this.#desk.store.clock.wall());
    try {
      await this.#pair(clip(name.trim(), MAX_DEVICE_NAME), permission);
    } catch (error) {
      await this.#failed(asFault(error));
    } finally {
      clearTimeout(timer);
    }
  }

  cancel() {
    if (this.step === 'confirmed' || this.step === 'done' || this.step === 'failed') return;
    const isUnderWay = this.step !== 'ready';
    this.#show({ step: 'failed', fault: 'cancelled' });
    this.#controller.abort();
    if (!isUnderWay) this.#desk.store.setMeta('pairing', undefined).catch(() => undefined);
  }

  /**
   * @param {string} name
   * @param {Promise<void>|undefined} permission
   */
  async #pair(name, permission) {
    const { relay, store, deviceNamed, registered, pinned, subscribe } = this.#desk;
    const { signal } = this.#controller;
    const device = await deviceNamed(name);
    const hostHash = this.#ticket.host ?? (await this.#lookUp());
    const phone = await PhonePairing.begin(this.#ticket.secret, hostHash, device.card, device.id);
    const [mailbox, first] = [phone.mailbox, await phone.first()];

    await this.#insist(() => relay.register(mailbox, device.card));
    await store.cardPut(device.card.card);
    this.registeredWith = base64url(hostHash);
    await store.setMeta('pairing', { host: this.registeredWith, until: this.endsAt });
    await this.#insist(() => relay.postFirst(mailbox, first));
    registered();
    // The host rings this phone as soon as it is paired: the subscription is made meanwhile.
    const push = permission?.then(subscribe).catch(() => undefined);

    this.#show({ step: 'waiting' });
    const { code, host, key, user } = await phone.reveal(await this.#mail(mailbox, 'm2'));
    const others = (await store.machines()).filter((machine) => machine.name === host.name && machine.id !== key.id);
    const sameName = others[0] && { id: others[0].id, fingerprint: others[0].fingerprint };
    this.#show({ step: 'code', code, host: { id: key.id, name: host.name, fingerprint: key.fingerprint }, user, sameName });

    const mail = await this.#mail(mailbox, 'm3');
    await phone.receipt(device.sealKey, mail);
    if (signal.aborted) throw new Fault('cancelled');
    this.#show({ step: 'confirmed' });
    await store.pin({ id: key.id, name: host.name, line: key.line, fingerprint: key.fingerprint, card: phone.cardHash }, user);
    await pinned();
    await Promise.race([push, pause(PUSH_MS, signal)]);
    this.#show({ step: 'done', code: undefined });
  }

  /** A typed ticket does not say whose it is; what m2 reveals will prove what the server says here. */
  async #lookUp() {
    const mailbox = mailboxId(await derive(this.#ticket.secret));
    return fromBase64url(await this.#insist(() => this.#desk.relay.mailboxHost(mailbox)));
  }

  /**
   * Waits for a message of the host; a server that is gone for a moment is asked again.
   * @param {string} mailbox
   * @param {'m2'|'m3'} slot
   * @returns {Promise<string>}
   */
  async #mail(mailbox, slot) {
    for (;;) {
      const mail = await this.#insist(() => this.#desk.relay.mail(mailbox, slot, this.#controller.signal));
      if (mail !== undefined) return mail;
    }
  }

  /**
   * @template T
   * @param {() => Promise<T>} call
   * @returns {Promise<T>}
   */
  async #insist(call) {
    const { signal } = this.#controller;
    for (let full = 0; ; ) {
      if (signal.aborted) throw new Fault('expired');
      try {
        return await call();
      } catch (error) {
        const { code, retryAfter } = asFault(error);
        if (code === 'limit' && (full += 1) >= MAX_FULL) throw new Fault('mailbox-full');
        if (code !== 'network' && code !== 'server' && code !== 'limit') throw error;
        await pause(Math.max(PAUSE_MS, (retryAfter ?? 0) * 1000), signal);
      }
    }
  }

  /** @param {Fault} fault */
  async #failed(fault) {
    const { store, relay } = this.#desk;
    if (this.step !== 'failed') this.#show({ step: 'failed', fault: fault.code });
    await store.setMeta('pairing', undefined).catch(() => undefined);
    const isKnown = this.registeredWith && (await store.machine(this.registeredWith).catch(() => undefined));
    // Only the relay's own list; nothing here depends on it.
    if (this.registeredWith && !isKnown) await relay.unlinkHost(this.registeredWith).catch(() => undefined);
  }

  /** @param {Partial<Pairing>} change */
  #show(change) {
    // What was cancelled stays cancelled, whatever was on its way.
    if (this.step === 'failed') return;
    Object.assign(this, change);
    this.dispatchEvent(new Event('change'));
  }

  /** @type {string|undefined} key id of the host whose mailbox has let this device in */
  registeredWith = undefined;
}
