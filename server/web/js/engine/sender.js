// What goes to the server: decisions and removals, again and again until their host has acted on them; the card.

import { pause } from '../relay/listener.js';

/** @typedef {import('./store.js').Store} Store */
/** @typedef {import('./device.js').Device} Device */
/** @typedef {import('./machines.js').MachineRecord} MachineRecord */
/** @typedef {import('./types.js').Sealed} Sealed */
/** @typedef {import('../relay/relay.js').Relay} Relay */

/** A host hears of a removal before the server ends the link. */
const PARTING_MS = 1_000;

export class Sender {
  #isSweeping = false;

  /**
   * @param {Store} store
   * @param {Relay} relay
   */
  constructor(store, relay) {
    this.store = store;
    this.relay = relay;
  }

  /** A failure is no matter: it goes again. @param {string} key @param {Sealed} sealed */
  async post(key, sealed) {
    if (await succeeds(this.relay.postDecision(sealed))) await this.store.delivered(key);
  }

  /** Sends what is due. @param {Device} own */
  async sweep(own) {
    if (this.#isSweeping) return;
    this.#isSweeping = true;
    try {
      const [due, removals] = [await this.store.takeDue(), await this.store.takeRemovals(own)];
      await Promise.all([
        ...due.map(({ key, sealed }) => this.post(key, sealed)),
        ...removals.map((sealed) => succeeds(this.relay.postDecision(sealed))),
      ]);
    } finally {
      this.#isSweeping = false;
    }
  }

  /** The connection is there: all that may have been missed. @param {Device} own */
  async catchUp(own) {
    // Where that cannot be noted, what is due by its time goes all the same.
    await succeeds(this.store.sendAllAgain());
    await this.sweep(own);
    if (!own.isCardPut) await succeeds(this.putCard(own));
    await succeeds(this.#endLinks());
  }

  /** @param {Device} own */
  async putCard(own) {
    await this.relay.putCard(own.card);
    await this.store.cardPut(own.card.card);
  }

  /** Ends the links to machines that were forgotten while the server was out of reach. */
  async #endLinks() {
    const [forgotten, pairing] = [await this.store.meta('forgotten'), await this.store.meta('pairing')];
    const now = this.store.clock.wall();
    const ids = Object.entries(forgotten ?? {}).filter(([id, until]) => until > now && id !== pairing?.host);
    for (const [id] of ids) await this.relay.unlinkHost(id);
  }

  /**
   * Takes this device from the lists of a machine that is about to be forgotten.
   * @param {MachineRecord} machine
   * @param {Device} own
   */
  async partFrom(machine, own) {
    const lists = Object.entries(machine.notices).filter(([, notice]) => notice.devices.some(({ id }) => id === own.id));
    if (lists.length === 0) return;
    for (const [user] of lists) await this.store.remove(machine.id, user, own.id);
    await this.sweep(own);
    await pause(PARTING_MS, new AbortController().signal);
  }
}

/** @param {Promise<unknown>} call */
function succeeds(call) {
  return call.then(
    () => true,
    () => false,
  );
}
