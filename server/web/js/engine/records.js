// What this browser keeps, read and written plainly; whoever looks at it is told of each change.

import { Fault } from '../core/fault.js';
import { loadDevice } from './device.js';
import { keepNewest } from './tables.js';

/** @typedef {import('./clock.js').Clock} Clock */
/** @typedef {import('./db.js').Database} Database */
/** @typedef {import('./device.js').Device} Device */
/** @typedef {import('./device.js').DeviceRecord} DeviceRecord */
/** @typedef {import('./inbox.js').ItemRecord} ItemRecord */
/** @typedef {import('./machines.js').MachineRecord} MachineRecord */
/** @typedef {import('./types.js').Alarm} Alarm */
/** @typedef {import('./types.js').DeviceNews} DeviceNews */
/** @typedef {import('./types.js').HistoryEntry} HistoryEntry */

/**
 * What is kept in `meta`, by its key.
 * @typedef {object} Meta
 * @property {DeviceRecord} device
 * @property {number} counter of decisions and removals
 * @property {{host: string, until: number}} pairing
 * @property {Record<string, number>} forgotten machines that are not to be heard any more, and until when
 * @property {{endpoint: string, vapid: string}} push
 * @property {{server: string, vapid: string}} app
 * @property {string} language
 * @property {string} server origin of the API, for the service worker
 */

const MAX_ALARMS = 20;

export class Records {
  /**
   * @param {Database} db
   * @param {Clock} clock
   * @param {() => void} changed is told after each change
   */
  constructor(db, clock, changed) {
    this.db = db;
    this.clock = clock;
    this.changed = changed;
  }

  /**
   * @template {keyof Meta} K
   * @param {K} key
   * @returns {Promise<Meta[K]|undefined>}
   */
  meta(key) {
    return this.db.run(['meta'], 'readonly', ({ meta }) => meta.get(key));
  }

  /**
   * @template {keyof Meta} K
   * @param {K} key
   * @param {Meta[K]|undefined} value nothing takes it away
   */
  async setMeta(key, value) {
    await this.db.run(['meta'], 'readwrite', async ({ meta }) => {
      await (value === undefined ? meta.delete(key) : meta.put(value, key));
    });
    this.changed();
  }

  /** @returns {Promise<Device|undefined>} throws a Fault when its keys are unusable */
  async device() {
    const record = await this.meta('device');
    try {
      return record && (await loadDevice(record));
    } catch (error) {
      throw new Fault('keys', String(error));
    }
  }

  /** @returns {Promise<MachineRecord[]>} */
  machines() {
    return this.db.run(['machines'], 'readonly', (tables) => tables.machines.all());
  }

  /** @param {string} id @returns {Promise<MachineRecord|undefined>} */
  machine(id) {
    return this.db.run(['machines'], 'readonly', (tables) => tables.machines.get(id));
  }

  /** @returns {Promise<ItemRecord[]>} */
  items() {
    return this.db.run(['items'], 'readonly', (tables) => tables.items.all());
  }

  /** @param {string} key @returns {Promise<ItemRecord|undefined>} */
  item(key) {
    return this.db.run(['items'], 'readonly', (tables) => tables.items.get(key));
  }

  /** @returns {Promise<{machines: MachineRecord[], items: ItemRecord[], alarms: Alarm[], news: DeviceNews[]}>} */
  snapshot() {
    return this.db.run(['machines', 'items', 'alarms', 'news'], 'readonly', async (tables) => {
      const [all, items, alarms, news] = [tables.machines.all(), tables.items.all(), tables.alarms.all(), tables.news.all()];
      return { machines: await all, items: await items, alarms: await alarms, news: await news };
    });
  }

  /**
   * Something that must not happen.
   * @param {Alarm['reason']} reason
   * @param {{machine?: string, keyId?: string}} who
   * @returns {Promise<Alarm>}
   */
  async alarm(reason, who) {
    const id = [reason, who.machine ?? '', who.keyId ?? ''].join('|');
    const alarm = await this.db.run(['alarms'], 'readwrite', async ({ alarms }) => {
      const times = ((await alarms.get(id))?.times ?? 0) + 1;
      const record = { id, at: this.clock.wall(), reason, ...who, times };
      await alarms.put(record);
      await keepNewest(alarms, MAX_ALARMS);
      return record;
    });
    this.changed();
    return alarm;
  }

  /** Keeps a new device, unless another tab has made one already. @param {DeviceRecord} record */
  async keepDevice(record) {
    await this.db.run(['meta'], 'readwrite', async ({ meta }) => {
      if ((await meta.get('device')) === undefined) await meta.put(record, 'device');
    });
    this.changed();
  }

  /** @param {Partial<DeviceRecord>} change */
  async changeDevice(change) {
    await this.db.run(['meta'], 'readwrite', async ({ meta }) => {
      const record = await meta.get('device');
      if (record) await meta.put({ ...record, ...change }, 'device');
    });
    this.changed();
  }

  /** The server has this card. @param {string} card */
  async cardPut(card) {
    await this.db.run(['meta'], 'readwrite', async ({ meta }) => {
      const record = await meta.get('device');
      if (record?.card.card === card) await meta.put({ ...record, isCardPut: true }, 'device');
    });
    this.changed();
  }

  /** @returns {Promise<HistoryEntry[]>} newest first */
  async history() {
    const all = await this.db.run(['history'], 'readonly', ({ history }) => history.all());
    return all.map(({ n, ...entry }) => entry).sort((a, b) => b.at - a.at);
  }

  /** @param {'history'|'alarms'|'news'} table */
  async clear(table) {
    await this.db.run([table], 'readwrite', (tables) => tables[table].clear());
    this.changed();
  }

  /** @param {'alarms'|'news'} table @param {string} id */
  async dismiss(table, id) {
    await this.db.run([table], 'readwrite', (tables) => tables[table].delete(id));
    this.changed();
  }

  /** Keys and all. */
  async forgetEverything() {
    /** @type {import('./db.js').StoreName[]} */
    const all = ['meta', 'machines', 'items', 'closed', 'alarms', 'news', 'history'];
    await this.db.run(all, 'readwrite', async (tables) => {
      for (const name of all) await tables[name].clear();
    });
    this.changed();
  }
}
