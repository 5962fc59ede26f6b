// The records as the pages see them.

import { PublicKey } from '../core/keys.js';
import { conflicts } from './conflicts.js';
import { machineView } from './machines.js';

/** @typedef {import('./inbox.js').ItemRecord} ItemRecord */
/** @typedef {import('./types.js').Item} Item */
/** @typedef {import('./types.js').Machine} Machine */
/** @typedef {import('./types.js').Self} Self */

/** How long an ended request is shown. */
const SHOWN_MS = 600_000;

export class View {
  /** The end of each request on the clock that nobody sets: a clock that is set back gives no more time. @type {Map<string, number>} */
  #ends = new Map();

  /** @param {import('./clock.js').Clock} clock */
  constructor(clock) {
    this.clock = clock;
  }

  /**
   * @param {import('./machines.js').MachineRecord[]} records
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
 * @param {import('./device.js').Device} device
 * @param {string} server
 * @returns {Self}
 */
export function selfView(device, server) {
  const { key, id, name, createdAt, persisted } = device;
  const { fingerprint, algorithm } = /** @type {PublicKey} */ (key.publicKey);
  return { id, name, fingerprint, algorithm, server, createdAt, persisted };
}
