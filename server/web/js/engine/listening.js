// When to listen to the server, and what becomes of what it brings.

import { quietly } from '../core/fault.js';
import { peek } from '../core/seal.js';
import { Line } from './line.js';
import { isRemoving } from './machines.js';
import { Presence } from './presence.js';
import * as push from './push.js';

/** @typedef {import('./channel.js').Told} Told */
/** @typedef {import('./types.js').Connection} Connection */
/** @typedef {import('./types.js').Sealed} Sealed */

const TICK_MS = 1_000;
/** Messages of hosts that are being paired just now. */
const MAX_PARKED = 16;

/**
 * @typedef {object} Desk
 * @property {import('./engine.js').Engine} engine
 * @property {import('./screen.js').Screen} screen
 * @property {import('./store.js').Store} store
 * @property {import('./sender.js').Sender} sender
 * @property {import('../relay/relay.js').Relay} relay
 * @property {(told: Told) => void} tell the other tabs
 */

export class Listening {
  #desk;
  #line;
  #presence;
  #isWanted = false;
  #isExpected = false;
  /** @type {ReturnType<typeof setInterval>|undefined} */
  #ticking;
  /** @type {Sealed[]} */
  #parked = [];

  /** @param {Desk} desk */
  constructor(desk) {
    this.#desk = desk;
    this.#line = new Line(desk.relay, {
      connected: () => this.#connected(),
      message: (sealed) => this.#hear(sealed),
      state: (connection) => this.#say(connection, true),
    });
    this.#presence = new Presence({
      asleep: () => this.adjust(),
      awake: (isStale) => this.#awake(isStale),
      online: () => this.#line.wake(),
    });
  }

  /** @returns {boolean} whether it was off */
  start() {
    if (this.#isWanted) return false;
    this.#isWanted = true;
    this.#presence.start();
    this.#desk.tell({ type: 'who' });
    this.adjust();
    quietly(this.#takeOver());
    return true;
  }

  stop() {
    this.#isWanted = false;
    this.#presence.stop();
    this.adjust();
  }

  /** A machine that is being paired may ring before it is in the records. */
  expect() {
    this.#isExpected = true;
    this.adjust();
  }

  /** This device is to be another one. */
  reset() {
    this.#isExpected = false;
    this.#line.stop();
  }

  /** @param {Told} told another tab's word */
  told(told) {
    if (told.type === 'who' && this.#line.isOurs) this.#desk.tell({ type: 'connection', connection: this.#desk.engine.connection });
    if (told.type === 'connection' && !this.#line.isOurs && this.#line.isStarted) this.#say(told.connection, false);
  }

  get #isBusy() {
    return this.#desk.engine.items.some((item) => item.phase !== 'closed');
  }

  /** Starts and stops what runs by itself, as the state asks for it, and hears what had to wait. */
  adjust() {
    const { engine, screen, store } = this.#desk;
    const hasHosts = engine.status === 'ready' && (screen.records.length > 0 || this.#isExpected);
    if (this.#isWanted && hasHosts && !this.#presence.isAsleep) {
      if (!this.#line.isStarted) this.#say({ state: 'connecting' }, false);
      this.#line.start();
    } else if (this.#line.isStarted) {
      this.#line.stop();
      this.#say({ state: 'idle' }, false);
    }
    const hasWork = this.#isBusy || screen.records.some((machine) => isRemoving(machine, store.clock.wall()));
    if (this.#isWanted && hasWork) {
      this.#ticking ??= setInterval(() => quietly(this.#tick()), TICK_MS);
    } else {
      clearInterval(this.#ticking);
      this.#ticking = undefined;
    }
    this.#hearParked();
  }

  /** @param {Connection} connection @param {boolean} isOurs */
  #say(connection, isOurs) {
    this.#desk.engine.connection = connection;
    if (isOurs) this.#desk.tell({ type: 'connection', connection });
    this.#desk.screen.announce();
  }

  async #tick() {
    const { screen, sender, store } = this.#desk;
    // What cannot be kept keeps no answer from going out.
    await store.tick().catch(console.error);
    if (this.#line.isOurs && screen.device) await sender.sweep(screen.device);
  }

  /** @param {boolean} isStale */
  #awake(isStale) {
    if (isStale) this.#line.stop();
    else this.#line.wake();
    quietly(this.#desk.screen.refresh());
    quietly(this.#takeOver());
  }

  /** A new version of the app waits as long as a request is open. */
  async #takeOver() {
    const registration = await globalThis.navigator?.serviceWorker?.getRegistration?.();
    if (!this.#isBusy) registration?.waiting?.postMessage({ type: 'take-over' });
  }

  #connected() {
    const { relay, screen, sender, store } = this.#desk;
    quietly(sender.catchUp(screen.own()));
    quietly(push.renew(store, relay));
  }

  /** @param {Sealed} sealed */
  async #hear(sealed) {
    const { screen, store } = this.#desk;
    const { kind } = await store.receive(sealed, screen.own());
    if (kind !== 'parked') return;
    this.#parked = [...this.#parked, sealed].slice(-MAX_PARKED);
    // Its host may have been pinned while this was looked at.
    await screen.refresh();
  }

  /** What was parked, of hosts that are pinned now: by this tab, or another one. */
  #hearParked() {
    const { records } = this.#desk.screen;
    const isPinned = (/** @type {Sealed} */ sealed) => records.some(({ id }) => id === peek(sealed).from);
    const pinned = this.#parked.filter(isPinned);
    this.#parked = this.#parked.filter((sealed) => !pinned.includes(sealed));
    for (const sealed of pinned) quietly(this.#hear(sealed));
  }
}
