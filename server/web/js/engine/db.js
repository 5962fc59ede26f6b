// What this browser keeps: IndexedDB, shared by all tabs and the service worker. Keys lie in it as
// CryptoKeys that cannot be taken out. A mark outside of it tells when a browser has cleared it.

import { Fault } from '../core/fault.js';

/** @typedef {'meta'|'machines'|'items'|'closed'|'alarms'|'news'|'history'} StoreName */

const NAME = 'countersign';
const VERSION = 1;
const MARK = 'countersign.device';
const MARK_CACHE = 'countersign-mark';
/** Only a name in a cache; nothing is fetched from there. */
const MARK_URL = '/countersign-mark';

/** @type {{[N in StoreName]: IDBObjectStoreParameters}} */
const STORES = {
  meta: {},
  machines: { keyPath: 'id' },
  items: { keyPath: 'key' },
  closed: { keyPath: 'key' },
  alarms: { keyPath: 'id' },
  news: { keyPath: 'id' },
  history: { keyPath: 'n', autoIncrement: true },
};

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** One object store within a transaction. */
class Table {
  /** @param {IDBObjectStore} store */
  constructor(store) {
    this.store = store;
  }

  /** @param {IDBValidKey} key @returns {Promise<any>} */
  get(key) {
    return done(this.store.get(key));
  }

  /** @returns {Promise<any[]>} */
  all() {
    return done(this.store.getAll());
  }

  /** @param {unknown} value @param {IDBValidKey} [key] */
  put(value, key) {
    return done(this.store.put(value, key));
  }

  /** @param {IDBValidKey} key */
  delete(key) {
    return done(this.store.delete(key));
  }

  clear() {
    return done(this.store.clear());
  }

  /** @returns {Promise<IDBValidKey[]>} in order */
  keys() {
    return done(this.store.getAllKeys());
  }
}

/** @typedef {{[N in StoreName]: Table}} Tables */

/**
 * @param {IDBFactory} factory
 * @returns {Promise<IDBDatabase>}
 */
function connect(factory) {
  return new Promise((resolve, reject) => {
    const request = factory.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      for (const [name, parameters] of Object.entries(STORES)) request.result.createObjectStore(name, parameters);
    };
    let isGivenUp = false;
    request.onsuccess = () => {
      // The other tab is gone by now. Nobody waits for this connection, and it would block others in turn.
      if (isGivenUp) return request.result.close();
      // Another tab with a later version of the app.
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
    request.onblocked = () => {
      isGivenUp = true;
      reject(new Fault('storage', 'blocked by another tab'));
    };
  });
}

export class Database {
  /**
   * @param {IDBFactory} factory
   * @param {IDBDatabase} db
   */
  constructor(factory, db) {
    this.factory = factory;
    this.db = db;
  }

  /**
   * @param {IDBFactory} factory
   * @returns {Promise<Database>}
   */
  static async open(factory) {
    return new Database(factory, await connect(factory));
  }

  /**
   * One transaction over the named stores. `body` may wait for nothing but its tables.
   * @template T
   * @param {StoreName[]} names
   * @param {IDBTransactionMode} mode
   * @param {(tables: Tables) => Promise<T>} body
   * @returns {Promise<T>} throws a Fault, and then nothing has changed
   */
  async run(names, mode, body) {
    try {
      const transaction = await this.#begin(names, mode);
      const ended = new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
      });
      const tables = Object.fromEntries(names.map((name) => [name, new Table(transaction.objectStore(name))]));
      const result = await body(/** @type {Tables} */ (tables)).catch((error) => {
        ended.catch(() => undefined);
        abort(transaction);
        throw error;
      });
      await ended;
      return result;
    } catch (error) {
      throw error instanceof Fault ? error : new Fault('storage', String(error));
    }
  }

  /**
   * Phones take the connection from an app in the background: then it is made anew.
   * @param {StoreName[]} names
   * @param {IDBTransactionMode} mode
   */
  async #begin(names, mode) {
    try {
      return this.db.transaction(names, mode);
    } catch (error) {
      if (!(error instanceof Error && error.name === 'InvalidStateError')) throw error;
      this.db = await connect(this.factory);
      return this.db.transaction(names, mode);
    }
  }
}

/** @param {IDBTransaction} transaction */
function abort(transaction) {
  try {
    transaction.abort();
  } catch {
    // It has ended by itself.
  }
}

/** Notes outside of the database that this browser has keys. @param {string} device */
export async function mark(device) {
  try {
    globalThis.localStorage?.setItem(MARK, device);
    const cache = await globalThis.caches?.open(MARK_CACHE);
    await cache?.put(MARK_URL, new Response(device));
  } catch {
    // A browser that keeps neither cannot tell later; nothing else depends on it.
  }
}

/** Whether this browser has had keys. */
export async function isMarked() {
  try {
    if (globalThis.localStorage?.getItem(MARK)) return true;
    return (await globalThis.caches?.has(MARK_CACHE)) ?? false;
  } catch {
    return false;
  }
}

/** Takes the marks away. */
export async function unmark() {
  try {
    globalThis.localStorage?.removeItem(MARK);
    await globalThis.caches?.delete(MARK_CACHE);
  } catch {
    // As above.
  }
}
