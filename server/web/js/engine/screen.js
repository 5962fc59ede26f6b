// What the pages see: read anew after each change, whoever made it.

import { asFault, Fault } from '../core/fault.js';
import { PublicKey } from '../core/keys.js';
import { conflicts } from './conflicts.js';
import { isMarked } from './db.js';
import { loadDevice } from './device.js';
import { SHOWN_MS } from './inbox.js';
import { Lists } from './lists.js';
import { machineView } from './machines.js';

/** @typedef {import('./device.js').Device} Device */
/** @typedef {import('./device.js').DeviceRecord} DeviceRecord */
/** @typedef {import('./engine.js').Engine} Engine */
/** @typedef {import('./inbox.js').ItemRecord} ItemRecord */
/** @typedef {import('./machines.js').MachineRecord} MachineRecord */
/** @typedef {import('./types.js').Item} Item */
/** @typedef {import('./types.js').Machine} Machine */
/** @typedef {import('./types.js').Self} Self */
/** @typedef {import('./store.js').Store} Store */
/** @typedef {import('../relay/relay.js').Relay} Relay */

export class Screen {
  #view;
  #lists;
  #isDirty = false;
  /** @type {Promise<void>|undefined} */
  #loading;
  #isTold = false;
  /** @type {Set<string>|undefined} keys of the requests that the pages know of */
  #known;
  /** @type {Device|undefined} */
  device;
  /** @type {MachineRecord[]} */
  records = [];

  /**
   * @param {Engine} engine
   * @param {Store} store
   * @param {Relay} relay
   * @param {() => void} looked is told after each look, before the pages are
   */
  constructor(engine, store, relay, looked) {
    this.engine = engine;
    this.store = store;
    this.relay = relay;
    this.looked = looked;
    this.#view = new View(store.clock);
    this.#lists = new Lists(relay, () => this.#listed());
  }

  /** This device; throws a Fault when it has no keys. */
  own() {
    if (!this.device) throw new Fault('keys');
    return this.device;
  }

  /** @returns {Promise<void>} when all that was written before is on the screen */
  refresh() {
    this.#isDirty = true;
    this.#loading ??= this.#load();
    return this.#loading;
  }

  /** One event for all that changed at once. */
  announce() {
    if (this.#isTold) return;
    this.#isTold = true;
    queueMicrotask(() => {
      this.#isTold = false;
      this.engine.dispatchEvent(new Event('change'));
    });
  }

  /** @param {import('./types.js').PushState} state */
  setPush(state) {
    this.engine.push = state;
    this.announce();
  }

  /** @param {unknown} error why ringing does not work, at the moment @param {import('./types.js').PushState['state']} state */
  pushFailed(error, state = 'failed') {
    const fault = asFault(error);
    this.setPush({ state, reason: fault.code });
    return fault;
  }

  /** Whether the list of a request is here. @param {string} key */
  isListed(key) {
    return this.#lists.of(key)?.state === 'there';
  }

  #listed() {
    for (const item of this.engine.items) {
      const listed = this.#lists.of(item.key);
      if (listed) item.listed = listed;
    }
    this.announce();
  }

  async #load() {
    try {
      while (this.#isDirty) {
        this.#isDirty = false;
        await this.#loadOnce();
      }
    } finally {
      this.#loading = undefined;
    }
  }

  async #loadOnce() {
    const { engine, store } = this;
    const [record, { machines, items, alarms, news }] = [await store.meta('device'), await store.snapshot()];
    this.records = machines;
    await this.#useDevice(record);
    // Also without keys that can be read: whoever starts over then has something to lose.
    engine.machines = this.#view.machines(machines, this.device?.id ?? '');
    engine.items = this.device ? this.#view.items(items, engine.machines) : [];
    engine.alarms = alarms.sort((a, b) => b.at - a.at);
    engine.news = news.sort((a, b) => b.at - a.at);
    const before = this.#known;
    this.#known = new Set(engine.items.map((item) => item.key));
    this.looked();
    this.#lists.look(engine.items);
    this.#listed();
    for (const item of engine.items) {
      const isNew = item.phase === 'open' && before && !before.has(item.key);
      if (isNew) engine.dispatchEvent(new CustomEvent('arrived', { detail: item }));
    }
  }

  /** @param {DeviceRecord|undefined} record */
  async #useDevice(record) {
    if (record && record.card.card === this.device?.card.card) {
      Object.assign(this.device, { isCardPut: record.isCardPut, persisted: record.persisted });
    } else {
      this.device = record && (await loadDevice(record).catch(() => undefined));
      this.relay.use(this.device?.key);
    }
    const isLost = !this.device && (record !== undefined || this.records.length > 0 || (await isMarked()));
    this.engine.status = this.device ? 'ready' : isLost ? 'lost' : 'new';
    this.engine.self = this.device && selfView(this.device, this.relay.origin);
  }
}

/** The records as the pages see them. */
class View {
  /** The end of each request on the clock that nobody sets: a clock that is set back gives no more time. @type {Map<string, number>} */
  #ends = new Map();

  /** @param {import('./clock.js').Clock} clock */
  constructor(clock) {
    this.clock = clock;
  }

  /**
   * @param {MachineRecord[]} records
   * @param {string} self
   * @returns {Machine[]}
   */
  machines(records, self) {
    const now = this.clock.wall();
    return records.map((record) => machineView(record, self, now)).sort((a, b) => a.name.localeCompare(b.name));
  }

  /**
   * @param {ItemRecord[]} records
   * @param {Machine[]} machines
   * @returns {Item[]} open and decided first, by their end; then those that ended lately
   */
  items(records, machines) {
    const now = this.clock.wall();
    const shown = records.filter((record) => record.phase !== 'closed' || (record.endedAt ?? 0) + SHOWN_MS > now);
    const known = new Set(shown.map((record) => record.key));
    for (const key of this.#ends.keys()) if (!known.has(key)) this.#ends.delete(key);
    return shown
      .flatMap((record) => {
        const machine = machines.find((m) => m.id === record.machine);
        return machine ? [this.item(record, machine, shown)] : [];
      })
      .sort(byUrgency);
  }

  /**
   * @param {ItemRecord} record
   * @param {Machine} machine
   * @param {ItemRecord[]} all
   * @returns {Item}
   */
  item(record, machine, all) {
    const { machine: _, machineName, sealed, sent, againAt, signingUntil, attempt, endsAt, ...rest } = record;
    return { ...rest, machine, endsAt: this.#endOf(record), conflicts: conflicts(record, all) };
  }

  /** @param {ItemRecord} record */
  #endOf({ key, endsAt, request }) {
    const left = Math.min(endsAt - this.clock.wall(), request.expires_in * 1000);
    const end = Math.min(this.#ends.get(key) ?? Infinity, this.clock.steady() + left);
    this.#ends.set(key, end);
    return end;
  }
}

/** @param {Item} a @param {Item} b */
function byUrgency(a, b) {
  const [aClosed, bClosed] = [a.phase === 'closed', b.phase === 'closed'];
  if (aClosed !== bClosed) return aClosed ? 1 : -1;
  return aClosed ? (b.endedAt ?? 0) - (a.endedAt ?? 0) : a.endsAt - b.endsAt;
}

/**
 * @param {Device} device
 * @param {string} server
 * @returns {Self}
 */
function selfView(device, server) {
  const { key, id, name, createdAt, persisted } = device;
  const { fingerprint, algorithm } = /** @type {PublicKey} */ (key.publicKey);
  return { id, name, fingerprint, algorithm, server, createdAt, persisted };
}
