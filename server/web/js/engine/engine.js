// What the pages use: the approver's state, and what can be done with it.

import { clip } from '../core/bytes.js';
import { asFault, Fault, quietly } from '../core/fault.js';
import { generateSealKey } from '../core/hpke.js';
import { MAX_DEVICE_NAME } from '../core/messages.js';
import { parseTicket } from '../core/ticket.js';
import { pause } from '../relay/listener.js';
import { Relay } from '../relay/relay.js';
import { openChannel } from './channel.js';
import { makeClock } from './clock.js';
import { Database, mark, unmark } from './db.js';
import { createDevice, renamed } from './device.js';
import { Listening } from './listening.js';
import { PairingSession } from './pairing.js';
import * as phoneCodes from './phone_codes.js';
import * as push from './push.js';
import { Screen } from './screen.js';
import { Sender } from './sender.js';
import { Store } from './store.js';

/** @typedef {import('./types.js').Answer} Answer */
/** @typedef {import('./types.js').Challenge} Challenge */
/** @typedef {import('./types.js').HistoryEntry} HistoryEntry */
/** @typedef {import('./types.js').Item} Item */
/** @typedef {import('./device.js').Device} Device */

export { Fault, PairingSession };

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
  /** Nothing in a browser that cannot be an approver. @type {{store: Store, sender: Sender, screen: Screen, listening: Listening}|undefined} */
  #made;

  /**
   * @param {Relay} relay
   * @param {import('./clock.js').Clock} clock
   * @param {Database|undefined} db
   * @param {Fault} [fault] why this browser cannot be an approver
   */
  constructor(relay, clock, db, fault) {
    super();
    this.#relay = relay;
    /** @type {import('./types.js').Status} */
    this.status = fault ? 'unsupported' : 'new';
    /** @type {import('./types.js').Self|undefined} */
    this.self = undefined;
    /** @type {import('./types.js').Connection} */
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
    if (db) this.#made = this.#make(relay, clock, db);
  }

  /**
   * @param {Relay} relay
   * @param {import('./clock.js').Clock} clock
   * @param {Database} db
   */
  #make(relay, clock, db) {
    const { tell } = openChannel((told) => {
      if (told.type === 'changed') quietly(screen.refresh());
      else listening.told(told);
    });
    const store = new Store(db, clock, () => {
      tell({ type: 'changed' });
      quietly(screen.refresh());
    });
    const sender = new Sender(store, relay);
    const screen = new Screen(this, store, relay, () => listening.adjust());
    const listening = new Listening({ engine: this, screen, store, sender, relay, tell });
    return { store, sender, screen, listening };
  }

  get #parts() {
    if (!this.#made) throw new Fault(this.connection.reason ?? 'browser');
    return this.#made;
  }

  /** Reads what is kept. */
  async open() {
    const { store, screen } = this.#parts;
    this.appInfo = await store.meta('app');
    if ((await store.meta('server')) !== this.#relay.origin) await store.setMeta('server', this.#relay.origin);
    await screen.refresh();
    this.push = await push.state(store);
    await store.tick();
  }

  /** Listens to the server, for as long as the page is looked at. */
  start() {
    if (this.#made?.listening.start()) quietly(this.#learn());
  }

  stop() {
    this.#made?.listening.stop();
  }

  /**
   * @param {string} key
   * @param {Answer} answer
   * @param {{lease?: number}} [options] seconds
   * @returns {Promise<Item>} throws a Fault
   */
  async decide(key, answer, { lease } = {}) {
    const { store, sender, screen } = this.#parts;
    const isUnlisted = answer === 'approve' && (await store.item(key))?.request.list && !screen.isListed(key);
    if (isUnlisted) throw new Fault('unexpected', 'its list is not here');
    const { item, sealed } = await store.decide(key, answer, screen.own(), lease);
    quietly(sender.post(key, sealed));
    quietly(push.hide(key));
    await screen.refresh();
    const found = this.items.find((one) => one.key === item.key);
    if (!found) throw new Fault('expired');
    return found;
  }

  /**
   * @param {string} linkOrTicket
   * @returns {Promise<PairingSession>} throws a Fault
   */
  async pair(linkOrTicket) {
    const { store, screen, listening } = this.#parts;
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
        listening.expect();
        this.start();
      },
      pinned: () => screen.refresh(),
    });
  }

  /** To be called in a tap: the browser asks the person. */
  async enablePush() {
    const { store, screen } = this.#parts;
    const asked = push.askPermission();
    try {
      await asked;
      await this.#subscribe();
    } catch (error) {
      const { state } = await push.state(store);
      throw screen.pushFailed(error, state === 'off' ? 'failed' : state);
    }
  }

  async disablePush() {
    const { store, screen } = this.#parts;
    await push.unsubscribe(store, this.#relay).finally(async () => screen.setPush(await push.state(store)));
  }

  /** @param {string} name */
  async rename(name) {
    const { store, sender, screen } = this.#parts;
    const clipped = clip(name.trim(), MAX_DEVICE_NAME);
    if (clipped === '' || clipped === screen.own().name) return;
    await store.changeDevice(await renamed(screen.own(), clipped));
    await screen.refresh();
    await sender.putCard(screen.own());
  }

  /**
   * @param {string} machineId
   * @param {string} user
   * @param {string} deviceId
   */
  async removeDevice(machineId, user, deviceId) {
    const { store, sender, screen } = this.#parts;
    await store.remove(machineId, user, deviceId);
    await screen.refresh();
    await sender.sweep(screen.own());
  }

  /** @param {string} id */
  async forgetMachine(id) {
    const { store, sender, screen } = this.#parts;
    const machine = await store.machine(id);
    if (!machine) return;
    await sender.partFrom(machine, screen.own()).catch(() => undefined);
    await store.forgetMachine(id);
    await screen.refresh();
    // If this fails it is tried again at the next connection.
    await this.#relay.unlinkHost(id).catch(() => undefined);
  }

  /** Ends everything here and, as far as it is reached, at the server. */
  async forgetEverything() {
    const { store, screen } = this.#parts;
    const goodbye = (async () => {
      await push.unsubscribe(store, this.#relay).catch(() => undefined);
      for (const { id } of screen.records) await this.#relay.unlinkHost(id).catch(() => undefined);
    })();
    await Promise.race([goodbye, pause(GOODBYE_MS, new AbortController().signal)]);
    await this.startOver();
  }

  /** From `lost`, or on purpose: this browser is a new device from now on. */
  async startOver() {
    const { store, screen, listening } = this.#parts;
    listening.reset();
    // First, as the other tabs look for the mark once they hear that the keys are gone.
    await unmark();
    await store.forgetEverything();
    await screen.refresh();
    screen.setPush(await push.state(store));
  }

  /** @returns {Promise<HistoryEntry[]>} newest first */
  history() {
    return this.#parts.store.history();
  }

  clearHistory() {
    return this.#parts.store.clear('history');
  }

  /** @param {string} id */
  dismissAlarm(id) {
    return this.#parts.store.dismiss('alarms', id);
  }

  /** @param {string} id */
  dismissNews(id) {
    return this.#parts.store.dismiss('news', id);
  }

  /**
   * @param {Uint8Array} bytes
   * @returns {Promise<Challenge>} throws a Fault
   */
  async readChallenge(bytes) {
    return phoneCodes.show(bytes, this.machines, this.#parts.store.clock.wall());
  }

  /**
   * @param {Challenge} challenge one that `readChallenge` gave
   * @returns {Promise<string>} eight digits
   */
  async phoneCode(challenge) {
    const { store, screen } = this.#parts;
    const machine = await store.machine(challenge.machine.id);
    const code = await phoneCodes.codeFor(challenge, screen.own(), machine?.card);
    await store.used(challenge.machine.id);
    return code;
  }

  /** What the worker needs, and what browser and server say. */
  async #learn() {
    const { store, screen } = this.#parts;
    const language = globalThis.document?.documentElement.lang;
    if (language && language !== (await store.meta('language'))) await store.setMeta('language', language);
    const persisted = await globalThis.navigator?.storage?.persisted?.();
    if (persisted && screen.device?.persisted === false) await store.changeDevice({ persisted });
    this.appInfo = await this.#relay.app();
    await store.setMeta('app', this.appInfo);
  }

  /**
   * @param {string} name
   * @returns {Promise<Device>} this device: made anew, or given this name
   */
  async #deviceNamed(name) {
    const { store, screen } = this.#parts;
    if (screen.device) {
      if (name !== '' && name !== screen.device.name) await store.changeDevice(await renamed(screen.device, name));
    } else {
      await store.keepDevice(
        await createDevice(name || 'Browser', store.clock.wall(), false).catch((error) => {
          throw new Fault('keys', String(error));
        }),
      );
    }
    await store.setMeta('server', this.#relay.origin);
    await screen.refresh();
    await mark(screen.own().id);
    quietly(this.#persist());
    return screen.own();
  }

  /** Some browsers ask the person; nothing waits for that. */
  async #persist() {
    const persisted = await globalThis.navigator?.storage?.persist?.();
    if (persisted) await this.#parts.store.changeDevice({ persisted });
  }

  async #subscribe() {
    const { store, screen } = this.#parts;
    try {
      await push.subscribe(store, this.#relay);
      screen.setPush({ state: 'on' });
    } catch (error) {
      throw screen.pushFailed(error);
    }
  }
}
