// One event stream for all tabs of this browser: whoever holds the lock listens, the others are told.

import { listen, pause } from '../relay/listener.js';

/** @typedef {import('../relay/listener.js').Hearer} Hearer */
/** @typedef {import('../relay/relay.js').Relay} Relay */

/** The server gives a device one stream; a second tab would take it from the first. */
const LOCK = 'countersign-stream';

export class Line {
  /** @type {AbortController|undefined} */
  #controller;
  /** @type {AbortSignal|undefined} */
  #ours;
  #wake = () => {};

  /**
   * @param {Relay} relay
   * @param {Hearer} hearer
   */
  constructor(relay, hearer) {
    this.relay = relay;
    this.hearer = hearer;
  }

  /** Whether this tab is the one that listens. */
  get isOurs() {
    return this.#ours !== undefined;
  }

  get isStarted() {
    return this.#controller !== undefined;
  }

  start() {
    if (this.#controller) return;
    const controller = new AbortController();
    this.#controller = controller;
    const { signal } = controller;
    const { locks } = globalThis.navigator ?? {};
    const held = locks ? locks.request(LOCK, { signal }, () => this.#listen(signal)) : this.#listen(signal);
    // Given up while waiting for the lock.
    Promise.resolve(held).catch(() => undefined);
  }

  stop() {
    this.#controller?.abort();
    this.#controller = undefined;
  }

  /** The network may be back: a wait before the next try ends now. */
  wake() {
    this.#wake();
  }

  /** @param {AbortSignal} signal */
  async #listen(signal) {
    if (signal.aborted) return;
    this.#ours = signal;
    try {
      await listen(this.relay, this.hearer, signal, (ms, stopped) => this.#sleep(ms, stopped));
    } finally {
      if (this.#ours === signal) this.#ours = undefined;
    }
  }

  /**
   * @param {number} ms
   * @param {AbortSignal} signal
   */
  async #sleep(ms, signal) {
    /** @type {Promise<void>} */
    const woken = new Promise((resolve) => {
      this.#wake = resolve;
    });
    await Promise.race([pause(ms, signal), woken]);
  }
}
