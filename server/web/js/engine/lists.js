// The lists of open requests: fetched, opened, and kept in this page's memory alone. A request that has one is not
// approved before it is here.

import { openList } from '../core/list.js';
import { wait } from './inbox.js';

/** @typedef {import('../relay/relay.js').Relay} Relay */
/** @typedef {import('./types.js').Item} Item */
/** @typedef {import('./types.js').Listed} Listed */

/** @typedef {{shown: Listed, tries: number, timer?: ReturnType<typeof setTimeout>}} Known */

export class Lists {
  /** @type {Map<string, Known>} */
  #known = new Map();

  /**
   * @param {Relay} relay
   * @param {() => void} changed
   */
  constructor(relay, changed) {
    this.relay = relay;
    this.changed = changed;
  }

  /** What is known of an item's list. @param {string} key */
  of(key) {
    return this.#known.get(key)?.shown;
  }

  /** Begins with what is new, and lets go of what is over. @param {Item[]} items */
  look(items) {
    // What has come stays as long as its request does; what has not is needed for an answer alone.
    const isWanted = (/** @type {Item} */ { key, phase }) => (this.of(key)?.text === undefined ? phase === 'open' : phase !== 'closed');
    const wanted = new Map(items.filter((item) => item.request.list && isWanted(item)).map((item) => [item.key, item]));
    for (const [key, known] of this.#known) {
      if (wanted.has(key)) continue;
      clearTimeout(known.timer);
      this.#known.delete(key);
    }
    for (const [key, item] of wanted) {
      if (this.#known.has(key)) continue;
      /** @type {Known} */
      const known = { shown: { state: 'loading' }, tries: 0 };
      this.#known.set(key, known);
      void this.#fetch(item, known);
    }
  }

  /** @param {Item} item @param {Known} known */
  async #fetch(item, known) {
    const { key, machine, request: { id, list } } = item;
    try {
      if (list) known.shown = await this.#opened(machine.id, id, list);
    } catch {
      // Its host brings it again when the server has forgotten it.
      known.shown = { state: 'missing' };
    }
    if (this.#known.get(key) !== known) return;
    if (known.shown.state !== 'there') known.timer = setTimeout(() => void this.#fetch(item, known), wait(known.tries++));
    this.changed();
  }

  /**
   * @param {string} host
   * @param {string} id
   * @param {import('../core/list.js').List} list
   * @returns {Promise<Listed>}
   */
  async #opened(host, id, list) {
    const sealed = await this.relay.list(host, id);
    try {
      return { state: 'there', text: await openList(list, id, sealed) };
    } catch {
      return { state: 'wrong' };
    }
  }
}
