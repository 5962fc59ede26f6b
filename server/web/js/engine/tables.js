// What a verified message does to the tables, within one transaction.

import * as inbox from './inbox.js';
import * as machines from './machines.js';

/** @typedef {import('./db.js').Tables} Tables */
/** @typedef {import('./inbox.js').ItemRecord} ItemRecord */
/** @typedef {import('./letter.js').Letter} Letter */
/** @typedef {import('./types.js').Alarm} Alarm */
/** @typedef {import('./types.js').DeviceNews} DeviceNews */
/** @typedef {import('./types.js').HistoryEntry} HistoryEntry */
/** @typedef {import('./types.js').Outcome} Outcome */

/**
 * What a message has led to. `known`: nothing new. `parked`: of a host that is being paired just now.
 * @typedef {{kind: 'request', item: ItemRecord} | {kind: 'closed', key: string, outcome: Outcome, item?: ItemRecord}
 *   | {kind: 'notice', news: DeviceNews[]} | {kind: 'alarm', alarm: Alarm}
 *   | {kind: 'late'} | {kind: 'known', key?: string} | {kind: 'parked'}} Received
 */

const MAX_HISTORY = 500;
const MAX_NEWS = 50;

/**
 * Rises with each message that this device signs; never back, whichever tab signs.
 * @param {Tables['meta']} meta
 * @returns {Promise<number>}
 */
export async function nextCounter(meta) {
  const counter = ((await meta.get('counter')) ?? 0) + 1;
  await meta.put(counter, 'counter');
  return counter;
}

/**
 * @param {Pick<Tables, 'machines'>} tables
 * @param {Letter} letter
 * @param {import('../core/bytes.js').Bytes[]} cards this device's, the newest first
 */
export async function noteCard(tables, letter, cards) {
  const machine = await tables.machines.get(letter.machine);
  const changed = machine && machines.knowsCard(machine, letter.card, cards);
  if (changed) await tables.machines.put(changed);
}

/**
 * @param {Tables} tables
 * @param {Letter & {type: 'request'}} letter
 * @param {number} now
 * @returns {Promise<Received|{alarm: inbox.Reason}>}
 */
export async function takeRequest({ items, closed, history }, { type, card, ...arrival }, now) {
  const [known, isClosed] = [await items.get(arrival.key), (await closed.get(arrival.key)) !== undefined];
  const all = /** @type {ItemRecord[]} */ (await items.all());
  const openOfHost = all.filter((r) => r.machine === arrival.machine && r.phase !== 'closed' && r.endsAt > now).length;
  const result = inbox.arrive(arrival, { known, isClosed, openOfHost }, now);
  if (!result) return { kind: 'known', key: arrival.key };
  if ('alarm' in result) return result;
  if ('late' in result) {
    await rememberClosed(closed, arrival.key, now + inbox.REMEMBER_MS);
    const at = (arrival.request.issued_at + arrival.request.expires_in) * 1000;
    const { key, machineName: machine, request } = arrival;
    await addHistory(history, { key, machine, request, outcome: 'over', at: Math.min(at, now), late: result.late });
    return { kind: 'late' };
  }
  await items.put(result.record);
  return { kind: 'request', item: result.record };
}

/**
 * @param {Tables} tables
 * @param {Letter & {type: 'closed'}} letter
 * @param {number} now
 * @returns {Promise<Received|{alarm: inbox.Reason}>}
 */
export async function takeClosed(tables, letter, now) {
  const { key, outcome } = letter;
  const known = await tables.items.get(key);
  const wasClosed = (await tables.closed.get(key)) !== undefined;
  const result = inbox.close(letter, known, now);
  if ('alarm' in result) return result;
  if (!wasClosed) await rememberClosed(tables.closed, key, result.rememberUntil);
  if (!result.ended) return wasClosed ? { kind: 'known', key } : { kind: 'closed', key, outcome };
  await tables.items.put(result.ended);
  await remember(tables, result.ended);
  return { kind: 'closed', key, outcome, item: result.ended };
}

/**
 * @param {Tables} tables
 * @param {Letter & {type: 'notice'}} letter
 * @param {string} self
 * @param {number} now
 * @returns {Promise<Received>}
 */
export async function takeNotice(tables, letter, self, now) {
  const machine = await tables.machines.get(letter.machine);
  const result = machine && machines.heard(machine, letter.notice, letter.digest, { self, now });
  if (!result) {
    // The page may have heard it before the push came: what it told stands until that is dismissed.
    const about = `${letter.machine}/${letter.digest}/`;
    const news = /** @type {DeviceNews[]} */ (await tables.news.all()).filter(({ id }) => id.startsWith(about));
    return { kind: 'notice', news };
  }
  await tables.machines.put(result.machine);
  for (const news of result.news) await tables.news.put(news);
  if (result.news.length > 0) await keepNewest(tables.news, MAX_NEWS);
  return { kind: 'notice', news: result.news };
}

/**
 * A host that closes very many takes the room of no other one: its own oldest goes.
 * @param {Tables['closed']} closed
 * @param {string} key
 * @param {number} until
 */
export async function rememberClosed(closed, key, until) {
  const host = key.slice(0, key.indexOf('/') + 1);
  /** @type {{key: string, until: number}[]} */
  const others = (await closed.all()).filter((one) => one.key !== key && one.key.startsWith(host));
  others.sort((a, b) => a.until - b.until);
  for (const old of others.slice(0, Math.max(others.length + 1 - inbox.MAX_CLOSED_PER_HOST, 0))) await closed.delete(old.key);
  await closed.put({ key, until });
}

/**
 * Puts an ended request into the history, in place of what was thought of its end before.
 * @param {Pick<Tables, 'history'>} tables
 * @param {ItemRecord} record
 */
export async function remember({ history }, { key, machineName: machine, request, answer, outcome = 'over', endedAt = 0 }) {
  await addHistory(history, { key, machine, request, ...(answer && { answer }), outcome, at: endedAt });
}

/**
 * @param {Tables['history']} history
 * @param {HistoryEntry} entry
 */
async function addHistory(history, entry) {
  const all = await history.all();
  const known = all.find((other) => other.key === entry.key);
  await history.put(known ? { ...entry, n: known.n } : entry);
  const keys = known ? [] : await history.keys();
  for (const n of keys.slice(0, Math.max(keys.length - MAX_HISTORY, 0))) await history.delete(n);
}

/**
 * @param {Tables['alarms']} table
 * @param {number} most
 */
export async function keepNewest(table, most) {
  const all = (await table.all()).sort((a, b) => b.at - a.at);
  for (const { id } of all.slice(most)) await table.delete(id);
}

