// What happens to the records, each in one transaction, so that tabs and the service worker agree: messages, answers,
// time, machines.

import { Fault } from '../core/fault.js';
import { peek } from '../core/seal.js';
import * as device from './device.js';
import * as inbox from './inbox.js';
import { Alarming, readLetter } from './letter.js';
import * as machines from './machines.js';
import { Records } from './records.js';
import { nextCounter, noteCard, remember, takeClosed, takeNotice, takeRequest } from './tables.js';

/** @typedef {import('./tables.js').Received} Received */
/** @typedef {import('./inbox.js').ItemRecord} ItemRecord */
/** @typedef {import('./machines.js').MachineRecord} MachineRecord */
/** @typedef {import('./machines.js').DueRemoval} DueRemoval */
/** @typedef {import('./device.js').Device} Device */
/** @typedef {import('./letter.js').Letter} Letter */
/** @typedef {import('./types.js').Answer} Answer */
/** @typedef {import('./types.js').Sealed} Sealed */

/** How long messages of a machine that was forgotten are passed over. */
const FORGOTTEN_MS = 3_600_000;

export class Store extends Records {
  /**
   * A message came from the server.
   * @param {Sealed} sealed
   * @param {Device} own
   * @returns {Promise<Received>}
   */
  async receive(sealed, own) {
    /** @type {Letter} */
    let letter;
    try {
      letter = await readLetter(sealed, own, await this.machines());
    } catch (error) {
      if (!(error instanceof Alarming)) throw error;
      return (await this.#expected(error, sealed, own)) ?? { kind: 'alarm', alarm: await this.alarm(error.reason, error.who) };
    }
    const result = await this.#take(letter, own);
    if (!('kind' in result)) {
      const who = { machine: letter.machineName, keyId: letter.machine };
      return { kind: 'alarm', alarm: await this.alarm(result.alarm, who) };
    }
    if (result.kind !== 'known') this.changed();
    return result;
  }

  /**
   * A host that is not known is no surprise while it is being paired, or just after it was forgotten.
   * @param {Alarming} alarming
   * @param {Sealed} sealed
   * @param {Device} own
   * @returns {Promise<Received|undefined>}
   */
  async #expected(alarming, sealed, own) {
    if (alarming.reason !== 'unknown-host') return undefined;
    const [{ from }, now] = [peek(sealed), this.clock.wall()];
    // At one time: pinning ends the pairing.
    const [machine, pairing, forgotten] = await this.db.run(['machines', 'meta'], 'readonly', ({ machines, meta }) =>
      Promise.all([machines.get(from), meta.get('pairing'), meta.get('forgotten')]),
    );
    // It was pinned while its message was looked at.
    if (machine) return this.receive(sealed, own);
    if (pairing?.host === from && pairing.until > now) return { kind: 'parked' };
    return (forgotten?.[from] ?? 0) > now ? { kind: 'known' } : undefined;
  }

  /**
   * @param {Letter} letter
   * @param {Device} own
   * @returns {Promise<Received|{alarm: inbox.Reason}>}
   */
  #take(letter, own) {
    const now = this.clock.wall();
    return this.db.run(['machines', 'items', 'closed', 'news', 'history'], 'readwrite', async (tables) => {
      await noteCard(tables, letter, own.cardHashes);
      if (letter.type === 'notice') return takeNotice(tables, letter, own.id, now);
      return letter.type === 'request' ? takeRequest(tables, letter, now) : takeClosed(tables, letter, now);
    });
  }

  /**
   * The person answers: signs, seals and keeps the decision. Sending it is the caller's.
   * @param {string} key
   * @param {Answer} answer
   * @param {Device} own
   * @param {number} [lease] seconds
   * @returns {Promise<{item: ItemRecord, sealed: Sealed}>} throws a Fault
   */
  async decide(key, answer, own, lease) {
    const [item, counter] = await this.db.run(['items', 'meta'], 'readwrite', async ({ items, meta }) => {
      const counter = await nextCounter(meta);
      const record = inbox.answered(await items.get(key), answer, counter, this.clock.wall());
      await items.put(record);
      return [record, counter];
    });
    this.changed();
    try {
      const now = this.clock.wall();
      const decision = await device.makeDecision(own, item, { answer, counter, now, ...(lease !== undefined && { lease }) });
      const isOpening = answer === 'approve' && item.request.kind !== 'test';
      const unsent = isOpening ? await device.unsentCode(own, item, (await this.machine(item.machine))?.card) : undefined;
      const record = await this.#kept(item, { ...decision, ...(unsent && { unsent }) });
      return { item: record, sealed: decision.sealed };
    } catch (error) {
      // Where that cannot be kept either, the time of signing ends it.
      await this.#change(key, (record) => inbox.notSigned(record, counter)).catch(console.error);
      throw error instanceof Fault ? error : new Fault('keys', String(error));
    }
  }

  /**
   * @param {ItemRecord} item
   * @param {{sealed: Sealed, code?: string, unsent?: string, leaseUntil?: number}} decision
   */
  async #kept(item, decision) {
    const now = this.clock.wall();
    const record = await this.db.run(['items', 'machines'], 'readwrite', async (tables) => {
      const signed = inbox.signed(await tables.items.get(item.key), item.attempt, decision, now);
      if (!signed) throw new Fault('expired');
      await tables.items.put(signed);
      const machine = await tables.machines.get(item.machine);
      if (machine) await tables.machines.put({ ...machine, lastUsedAt: now });
      return signed;
    });
    this.changed();
    return record;
  }

  /** The server has the decision. @param {string} key */
  delivered(key) {
    return this.#change(key, (record) => (record?.phase === 'decided' ? { ...record, delivered: true } : undefined));
  }

  /**
   * @param {string} key
   * @param {(record: ItemRecord|undefined) => ItemRecord|undefined} change
   */
  async #change(key, change) {
    await this.db.run(['items'], 'readwrite', async ({ items }) => {
      const record = change(await items.get(key));
      if (record) await items.put(record);
    });
    this.changed();
  }

  /** The server may have forgotten everything: all that is undecided for its hosts goes again. */
  async sendAllAgain() {
    const now = this.clock.wall();
    await this.db.run(['items'], 'readwrite', async ({ items }) => {
      for (const record of await items.all()) {
        if (record.phase === 'decided') await items.put({ ...record, againAt: now });
      }
    });
  }

  /**
   * The decisions that are to be sent now; the next time of each is noted.
   * @returns {Promise<{key: string, sealed: Sealed}[]>}
   */
  async takeDue() {
    const now = this.clock.wall();
    /** @param {import('./db.js').Tables} tables @returns {Promise<ItemRecord[]>} */
    const dueOf = async ({ items }) => (await items.all()).filter((record) => inbox.isDue(record, now));
    const noted = this.db.run(['items'], 'readwrite', async (tables) => {
      const due = await dueOf(tables);
      for (const record of due) await tables.items.put(inbox.sentAgain(record, now));
      return due;
    });
    // Storage that takes nothing must not keep an answer from going out: then it goes more often.
    const due = await noted.catch(() => this.db.run(['items'], 'readonly', dueOf));
    return due.flatMap(({ key, sealed }) => (sealed ? [{ key, sealed }] : []));
  }

  /** Time passes: ends what has ended, and forgets what was kept long enough. */
  async tick() {
    const now = this.clock.wall();
    const changes = await this.db.run(['items', 'closed', 'history', 'machines'], 'readwrite', async (tables) => {
      let changes = 0;
      for (const machine of await tables.machines.all()) {
        const next = machines.tick(machine, now);
        if (!next) continue;
        changes += 1;
        await tables.machines.put(next);
      }
      /** @type {ItemRecord[]} */
      const all = await tables.items.all();
      const tooMany = inbox.tooMany(all);
      for (const record of all) {
        const next = tooMany.has(record) ? 'forget' : inbox.tick(record, now);
        if (next === 'unchanged') continue;
        changes += 1;
        if (next === 'forget') {
          await tables.items.delete(record.key);
          continue;
        }
        await tables.items.put(next);
        if (next.phase === 'closed') await remember(tables, next);
      }
      for (const { key, until } of await tables.closed.all()) {
        if (until <= now) await tables.closed.delete(key);
      }
      return changes;
    });
    if (changes > 0) this.changed();
  }

  /**
   * Trusts a machine whose receipt was verified.
   * @param {Pick<MachineRecord, 'id'|'name'|'line'|'fingerprint'|'card'>} host `card`: the one that it was paired with
   * @param {string} user
   */
  async pin(host, user) {
    const now = this.clock.wall();
    await this.db.run(['machines', 'meta'], 'readwrite', async ({ machines, meta }) => {
      const known = await machines.get(host.id);
      const users = [...new Set([...(known?.users ?? []), user])];
      await machines.put({ notices: {}, ...known, ...host, users, pairedAt: now });
      const forgotten = { ...(await meta.get('forgotten')) };
      delete forgotten[host.id];
      await meta.put(forgotten, 'forgotten');
      await meta.delete('pairing');
    });
    this.changed();
  }

  /** @param {string} id */
  async forgetMachine(id) {
    const now = this.clock.wall();
    await this.db.run(['machines', 'items', 'meta'], 'readwrite', async ({ machines, items, meta }) => {
      await machines.delete(id);
      for (const record of await items.all()) if (record.machine === id) await items.delete(record.key);
      const old = Object.entries((await meta.get('forgotten')) ?? {}).filter(([, until]) => until > now);
      await meta.put({ ...Object.fromEntries(old), [id]: now + FORGOTTEN_MS }, 'forgotten');
    });
    this.changed();
  }

  /**
   * A device is to be taken from a user's devices.
   * @param {string} id the machine's
   * @param {string} user
   * @param {string} peer
   */
  async remove(id, user, peer) {
    await this.#changeMachine(id, (machine) => machines.removing(machine, user, peer, this.clock.wall()), 'not-linked');
  }

  /**
   * The removals that are to be sent now, signed.
   * @param {Device} own
   * @returns {Promise<Sealed[]>}
   */
  async takeRemovals(own) {
    const now = this.clock.wall();
    /** @type {Sealed[]} */
    const out = [];
    const due = (await this.machines()).flatMap((machine) => machines.dueRemovals(machine, now));
    for (const one of due) {
      const sealed = one.sealed ?? (await this.#signRemoval(own, one));
      await this.#changeMachine(one.machine, (machine) => machines.removalSent(machine, one, sealed, now));
      out.push(sealed);
    }
    return out;
  }

  /**
   * @param {Device} own
   * @param {DueRemoval} due
   */
  async #signRemoval(own, due) {
    const counter = await this.db.run(['meta'], 'readwrite', ({ meta }) => nextCounter(meta));
    return device.makeRemoval(own, due, { device: due.device, counter, now: this.clock.wall() });
  }

  /**
   * @param {string} id
   * @param {(machine: MachineRecord) => MachineRecord|undefined} change
   * @param {import('../core/fault.js').FaultCode} [otherwise] the fault when there is nothing to change
   */
  async #changeMachine(id, change, otherwise) {
    await this.db.run(['machines'], 'readwrite', async (tables) => {
      const machine = await tables.machines.get(id);
      const changed = machine && change(machine);
      if (changed) await tables.machines.put(changed);
      else if (otherwise) throw new Fault(otherwise);
    });
    this.changed();
  }

  /** The machine was used without a request. @param {string} id */
  async used(id) {
    await this.#changeMachine(id, (machine) => ({ ...machine, lastUsedAt: this.clock.wall() }));
  }
}
