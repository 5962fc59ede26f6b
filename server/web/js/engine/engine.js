// What the pages use: the approver's state, and what can be done with it.

import { clip } from '../core/bytes.js';
import { asFault, Fault } from '../core/fault.js';
import { generateSealKey } from '../core/hpke.js';
import { MAX_DEVICE_NAME } from '../core/messages.js';
import { peek } from '../core/seal.js';
import { parseTicket } from '../core/ticket.js';
import { pause } from '../relay/listener.js';
import { Relay } from '../relay/relay.js';
import { CHANNEL } from './channel.js';
import { makeClock } from './clock.js';
import { Database, isMarked, mark, unmark } from './db.js';
import { createDevice, loadDevice, renamed } from './device.js';
import { Line } from './line.js';
import { isRemoving } from './machines.js';
import { PairingSession } from './pairing.js';
import * as phoneCodes from './phone_codes.js';
import { Presence } from './presence.js';
import * as push from './push.js';
import { Sender } from './sender.js';
import { Store } from './store.js';
import { selfView, View } from './view.js';

/** @typedef {import('./types.js').Answer} Answer */
/** @typedef {import('./types.js').Challenge} Challenge */
/** @typedef {import('./types.js').Connection} Connection */
/** @typedef {import('./types.js').HistoryEntry} HistoryEntry */
/** @typedef {import('./types.js').Item} Item */
/** @typedef {import('./types.js').Sealed} Sealed */
/** @typedef {import('./types.js').Status} Status */
/** @typedef {import('./device.js').Device} Device */
/** @typedef {import('./machines.js').MachineRecord} MachineRecord */

export { Fault, PairingSession };

const TICK_MS = 1_000;
/** Messages of a host that is being paired just now. */
const MAX_PARKED = 16;
/** Saying goodbye to the server takes no longer. */
const GOODBYE_MS = 5_000;

/**
 * @param {object} [options]
 * @param {string} [options.server] origin of the API
 * @param {import('../relay/http.js').Fetch} [options.fetch]
 * @param {IDBFactory} [options.indexedDB]
 * @param {() => number} [options.now] ms since 1970
 * @returns {Promise<Engine>} never rejects: look at `status`
 */
export async function openEngine({ server = globalThis.location?.origin ?? '', fetch, indexedDB, now } = {}) {
  const clock = makeClock(now);
  const relay = new Relay(server, fetch ? { fetch } : {});
  try {
    const db = await supported(indexedDB ?? globalThis.indexedDB);
    const engine = new Engine(relay, clock, db);
    await engine.open();
    return engine;
  } catch (error) {
    return new Engine(relay, clock, undefined, asFault(error));
  }
}

/**
 * @param {IDBFactory|undefined} factory
 * @returns {Promise<Database>} throws a Fault when this browser cannot be an approver
 */
async function supported(factory) {
  if (globalThis.isSecureContext === false || !globalThis.crypto?.subtle) throw new Fault('insecure');
  if (!factory) throw new Fault('browser', 'no IndexedDB');
  await generateSealKey().catch((error) => {
    throw new Fault('browser', `no X25519: ${error}`);
  });
  return Database.open(factory).catch((error) => {
    throw new Fault('storage', String(error));
  });
}

export class Engine extends EventTarget {
  #relay;
  #clock;
  #view;
  /** @type {Store|undefined} */
  #maybeStore;
  /** @type {Sender|undefined} */
  #maybeSender;
  /** @type {Device|undefined} */
  #device;
  /** @type {MachineRecord[]} */
  #records = [];
  /** @type {BroadcastChannel|undefined} */
  #channel;
  #line;
  #isDirty = false;
  /** @type {Promise<void>|undefined} */
  #loading;
  #isTold = false;
  /** @type {Set<string>|undefined} keys of the requests that the pages know of */
  #known;
  #isWanted = false;
  #isExpected = false;
  #presence;
  /** @type {ReturnType<typeof setInterval>|undefined} */
  #ticking;
  /** @type {Sealed[]} */
  #parked = [];

  /**
   * @param {Relay} relay
   * @param {import('./clock.js').Clock} clock
   * @param {Database|undefined} db
   * @param {Fault} [fault] why this browser cannot be an approver
   */
  constructor(relay, clock, db, fault) {
    super();
    this.#relay = relay;
    this.#clock = clock;
    this.#view = new View(clock);
    this.#line = new Line(relay, {
      connected: () => this.#connected(),
      message: (sealed) => this.#hear(sealed),
      state: (connection) => this.#setConnection(connection, true),
    });
    this.#presence = new Presence({
      asleep: () => this.#adjust(),
      awake: (isStale) => this.#awake(isStale),
      online: () => this.#line.wake(),
    });
    if (db) this.#maybeStore = new Store(db, clock, () => this.#changed());
    if (this.#maybeStore) this.#maybeSender = new Sender(this.#maybeStore, relay);
    /** @type {Status} */
    this.status = fault ? 'unsupported' : 'new';
    /** @type {import('./types.js').Self|undefined} */
    this.self = undefined;
    /** @type {Connection} */
    this.connection = fault ? { state: 'idle', reason: fault.code } : { state: 'idle' };
    /** @type {import('./types.js').Machine[]} */
    this.machines = [];
    /** @type {Item[]} */
    this.items = [];
    /** @type {import('./types.js').Alarm[]} */
    this.alarms = [];
    /** @type {import('./types.js').DeviceNews[]} */
    this.news = [];
    /** @type {import('./types.js').PushState} */
    this.push = { state: 'off' };
    /** @type {{server: string, vapid: string}|undefined} */
    this.appInfo = undefined;
  }

  get #store() {
    if (!this.#maybeStore) throw new Fault(this.connection.reason ?? 'browser');
    return this.#maybeStore;
  }

  get #sender() {
    if (!this.#maybeSender) throw new Fault(this.connection.reason ?? 'browser');
    return this.#maybeSender;
  }

  /** Reads what is kept. */
  async open() {
    if (globalThis.BroadcastChannel) {
      this.#channel = new BroadcastChannel(CHANNEL);
      this.#channel.onmessage = ({ data }) => this.#told(data);
      // Under node it would keep the process alive.
      /** @type {{unref?: () => void}} */ (this.#channel).unref?.();
    }
    this.appInfo = await this.#store.meta('app');
    if ((await this.#store.meta('server')) !== this.#relay.origin) await this.#store.setMeta('server', this.#relay.origin);
    await this.#refresh();
    this.push = await push.state(this.#store);
    await this.#store.tick();
  }

  /** Listens to the server, for as long as the page is looked at. */
  start() {
    if (this.#isWanted || !this.#maybeStore) return;
    this.#isWanted = true;
    this.#presence.start();
    this.#channel?.postMessage({ type: 'who' });
    this.#adjust();
    this.#quietly(this.#learn());
  }

  stop() {
    this.#isWanted = false;
    this.#presence.stop();
    this.#adjust();
  }

  /**
   * @param {string} key
   * @param {Answer} answer
   * @param {{lease?: number}} [options] seconds
   * @returns {Promise<Item>} throws a Fault
   */
  async decide(key, answer, { lease } = {}) {
    const { item, sealed } = await this.#store.decide(key, answer, this.#own(), lease);
    this.#quietly(this.#sender.post(key, sealed));
    this.#quietly(push.hide(key));
    await this.#refresh();
    const found = this.items.find((one) => one.key === item.key);
    if (!found) throw new Fault('expired');
    return found;
  }

  /**
   * @param {string} linkOrTicket
   * @returns {Promise<PairingSession>} throws a Fault
   */
  async pair(linkOrTicket) {
    const store = this.#store;
    if (this.status === 'lost') throw new Fault('keys');
    const ticket = parseTicket(linkOrTicket);
    if (ticket.server !== undefined && ticket.server !== this.#relay.origin) throw new Fault('other-server');
    return new PairingSession(ticket, {
      server: this.#relay.origin,
      relay: this.#relay,
      store,
      deviceNamed: (name) => this.#deviceNamed(name),
      askPermission: push.askPermission,
      subscribe: () => this.#subscribe(),
      registered: () => {
        this.#isExpected = true;
        this.start();
        this.#adjust();
      },
      pinned: () => this.#refresh(),
    });
  }

  /** To be called in a tap: the browser asks the person. */
  async enablePush() {
    const asked = push.askPermission();
    try {
      await asked;
      await this.#subscribe();
    } catch (error) {
      const fault = asFault(error);
      const { state } = await push.state(this.#store);
      this.#setPush(state === 'off' ? { state: 'failed', reason: fault.code } : { state, reason: fault.code });
      throw fault;
    }
  }

  async disablePush() {
    await push.unsubscribe(this.#store, this.#relay).finally(async () => {
      this.#setPush(await push.state(this.#store));
    });
  }

  /** @param {string} name */
  async rename(name) {
    const clipped = clip(name.trim(), MAX_DEVICE_NAME);
    if (clipped === '' || clipped === this.#own().name) return;
    await this.#store.changeDevice(await renamed(this.#own(), clipped));
    await this.#refresh();
    await this.#sender.putCard(this.#own());
  }

  /**
   * @param {string} machineId
   * @param {string} user
   * @param {string} deviceId
   */
  async removeDevice(machineId, user, deviceId) {
    await this.#store.remove(machineId, user, deviceId);
    await this.#refresh();
    await this.#sender.sweep(this.#own());
  }

  /** @param {string} id */
  async forgetMachine(id) {
    const machine = await this.#store.machine(id);
    if (!machine) return;
    await this.#sender.partFrom(machine, this.#own()).catch(() => undefined);
    await this.#store.forgetMachine(id);
    await this.#refresh();
    // If this fails it is tried again at the next connection.
    await this.#relay.unlinkHost(id).catch(() => undefined);
  }

  /** Ends everything here and, as far as it is reached, at the server. */
  async forgetEverything() {
    const goodbye = (async () => {
      await push.unsubscribe(this.#store, this.#relay).catch(() => undefined);
      for (const { id } of this.#records) await this.#relay.unlinkHost(id).catch(() => undefined);
    })();
    await Promise.race([goodbye, pause(GOODBYE_MS, new AbortController().signal)]);
    await this.startOver();
  }

  /** From `lost`, or on purpose: this browser is a new device from now on. */
  async startOver() {
    this.#line.stop();
    // First, as the other tabs look for the mark once they hear that the keys are gone.
    await unmark();
    await this.#store.forgetEverything();
    this.#isExpected = false;
    await this.#refresh();
    this.#setPush(await push.state(this.#store));
  }

  /** @returns {Promise<HistoryEntry[]>} newest first */
  history() {
    return this.#store.history();
  }

  clearHistory() {
    return this.#store.clear('history');
  }

  /** @param {string} id */
  dismissAlarm(id) {
    return this.#store.dismiss('alarms', id);
  }

  /** @param {string} id */
  dismissNews(id) {
    return this.#store.dismiss('news', id);
  }

  /**
   * @param {Uint8Array} bytes
   * @returns {Promise<Challenge>} throws a Fault
   */
  async readChallenge(bytes) {
    return phoneCodes.show(bytes, this.machines, this.#clock.wall());
  }

  /**
   * @param {Challenge} challenge one that `readChallenge` gave
   * @returns {Promise<string>} eight digits
   */
  async phoneCode(challenge) {
    const machine = await this.#store.machine(challenge.machine.id);
    const code = await phoneCodes.codeFor(challenge, this.#own(), machine?.card);
    await this.#store.used(challenge.machine.id);
    return code;
  }

  #own() {
    if (!this.#device) throw new Fault('keys');
    return this.#device;
  }

  // What is on the screen.

  /** Something was written here: other tabs are told, and this one looks again. */
  #changed() {
    this.#channel?.postMessage({ type: 'changed' });
    this.#quietly(this.#refresh());
  }

  /** @param {{type?: string, connection?: Connection}} data another tab's or the worker's word */
  #told({ type, connection }) {
    if (type === 'changed') this.#quietly(this.#refresh());
    if (type === 'who' && this.#line.isOurs) this.#channel?.postMessage({ type: 'connection', connection: this.connection });
    if (type === 'connection' && connection && !this.#line.isOurs && this.#line.isStarted) this.#setConnection(connection, false);
  }

  /** @returns {Promise<void>} when all that was written before is on the screen */
  #refresh() {
    this.#isDirty = true;
    this.#loading ??= this.#load();
    return this.#loading;
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
    const [record, { machines, items, alarms, news }] = [await this.#store.meta('device'), await this.#store.snapshot()];
    this.#records = machines;
    await this.#useDevice(record);
    this.#hearParked();
    // Also without keys that can be read: whoever starts over then has something to lose.
    this.machines = this.#view.machines(machines, this.#device?.id ?? '');
    this.items = this.#device ? this.#view.items(items, this.machines) : [];
    this.alarms = alarms.sort((a, b) => b.at - a.at);
    this.news = news.sort((a, b) => b.at - a.at);
    const before = this.#known;
    this.#known = new Set(this.items.map((item) => item.key));
    this.#adjust();
    this.#announce();
    for (const item of this.items) {
      const isNew = item.phase === 'open' && before && !before.has(item.key);
      if (isNew) this.dispatchEvent(new CustomEvent('arrived', { detail: item }));
    }
  }

  /** @param {import('./device.js').DeviceRecord|undefined} record */
  async #useDevice(record) {
    if (record && record.card.card === this.#device?.card.card) {
      Object.assign(this.#device, { isCardPut: record.isCardPut, persisted: record.persisted });
    } else {
      this.#device = record && (await loadDevice(record).catch(() => undefined));
      this.#relay.use(this.#device?.key);
    }
    const isLost = !this.#device && (record !== undefined || this.#records.length > 0 || (await isMarked()));
    this.status = this.#device ? 'ready' : isLost ? 'lost' : 'new';
    this.self = this.#device && selfView(this.#device, this.#relay.origin);
  }

  /** One event for all that changed at once. */
  #announce() {
    if (this.#isTold) return;
    this.#isTold = true;
    queueMicrotask(() => {
      this.#isTold = false;
      this.dispatchEvent(new Event('change'));
    });
  }

  /** @param {Connection} connection @param {boolean} isOurs */
  #setConnection(connection, isOurs) {
    this.connection = connection;
    if (isOurs) this.#channel?.postMessage({ type: 'connection', connection });
    this.#announce();
  }

  /** @param {import('./types.js').PushState} state */
  #setPush(state) {
    this.push = state;
    this.#announce();
  }

  // When to listen.

  /** Starts and stops what runs by itself, as the state asks for it. */
  #adjust() {
    const hasHosts = this.status === 'ready' && (this.#records.length > 0 || this.#isExpected);
    if (this.#isWanted && hasHosts && !this.#presence.isAsleep) {
      if (!this.#line.isStarted) this.#setConnection({ state: 'connecting' }, false);
      this.#line.start();
    } else if (this.#line.isStarted) {
      this.#line.stop();
      this.#setConnection({ state: 'idle' }, false);
    }
    const hasWork =
      this.items.some((item) => item.phase !== 'closed') ||
      this.#records.some((machine) => isRemoving(machine, this.#clock.wall()));
    if (this.#isWanted && hasWork) {
      this.#ticking ??= setInterval(() => this.#quietly(this.#tick()), TICK_MS);
    } else {
      clearInterval(this.#ticking);
      this.#ticking = undefined;
    }
  }

  async #tick() {
    await this.#store.tick();
    if (this.#line.isOurs && this.#device) await this.#sender.sweep(this.#device);
  }

  /** @param {boolean} isStale */
  #awake(isStale) {
    if (isStale) this.#line.stop();
    else this.#line.wake();
    this.#quietly(this.#refresh());
    this.#quietly(this.#takeOver());
  }

  /** What the worker needs and the server says; the new version of the app waits for a quiet moment. */
  async #learn() {
    const language = globalThis.document?.documentElement.lang;
    if (language && language !== (await this.#store.meta('language'))) await this.#store.setMeta('language', language);
    const persisted = await globalThis.navigator?.storage?.persisted?.();
    if (persisted && this.#device && !this.#device.persisted) await this.#store.changeDevice({ persisted });
    await this.#takeOver();
    const app = await this.#relay.app();
    this.appInfo = app;
    await this.#store.setMeta('app', app);
  }

  /** A new service worker waits as long as a request is open. */
  async #takeOver() {
    const registration = await globalThis.navigator?.serviceWorker?.getRegistration?.();
    const isBusy = this.items.some((item) => item.phase !== 'closed');
    if (!isBusy) registration?.waiting?.postMessage({ type: 'take-over' });
  }

  // What comes and goes.

  #connected() {
    this.#quietly(this.#sender.catchUp(this.#own()));
    this.#quietly(push.renew(this.#store, this.#relay));
  }

  /** @param {Sealed} sealed */
  async #hear(sealed) {
    const { kind } = await this.#store.receive(sealed, this.#own());
    if (kind !== 'parked') return;
    this.#parked = [...this.#parked, sealed].slice(-MAX_PARKED);
    // Its host may have been pinned while this was looked at.
    await this.#refresh();
  }

  /** What was parked, of hosts that are pinned now: by this tab, or another one. */
  #hearParked() {
    const isPinned = (/** @type {Sealed} */ sealed) => this.#records.some(({ id }) => id === peek(sealed).from);
    const pinned = this.#parked.filter(isPinned);
    this.#parked = this.#parked.filter((sealed) => !pinned.includes(sealed));
    for (const sealed of pinned) this.#quietly(this.#hear(sealed));
  }

  /**
   * @param {string} name
   * @returns {Promise<Device>} this device: made anew, or given this name
   */
  async #deviceNamed(name) {
    if (this.#device) {
      if (name !== '' && name !== this.#device.name) await this.#store.changeDevice(await renamed(this.#device, name));
    } else {
      await this.#store.keepDevice(
        await createDevice(name || 'Browser', this.#clock.wall(), false).catch((error) => {
          throw new Fault('keys', String(error));
        }),
      );
    }
    await this.#store.setMeta('server', this.#relay.origin);
    await this.#refresh();
    await mark(this.#own().id);
    this.#quietly(this.#persist());
    return this.#own();
  }

  /** Some browsers ask the person; nothing waits for that. */
  async #persist() {
    const persisted = await globalThis.navigator?.storage?.persist?.();
    if (persisted) await this.#store.changeDevice({ persisted });
  }

  async #subscribe() {
    try {
      await push.subscribe(this.#store, this.#relay);
      this.#setPush({ state: 'on' });
    } catch (error) {
      const fault = asFault(error);
      this.#setPush({ state: 'failed', reason: fault.code });
      throw fault;
    }
  }

  /** For what runs by itself: its failure is shown elsewhere, or tried again. @param {Promise<unknown>} work */
  #quietly(work) {
    work.catch((error) => {
      if (!(error instanceof Fault)) console.error(error);
    });
  }
}
