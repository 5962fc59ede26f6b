// What a push becomes: opened, verified, kept, and always shown. Some systems take the permission from an app that
// is pushed and shows nothing.

import { base64, fromUtf8 } from '../core/bytes.js';
import { escape } from '../core/escape.js';
import { SEALED_BYTES } from '../core/seal.js';
import { Reader } from '../core/wire.js';
import de from '../text/notify.de.js';
import en from '../text/notify.en.js';

/** @typedef {import('../engine/store.js').Store} Store */
/** @typedef {import('../engine/tables.js').Received} Received */
/** @typedef {import('../engine/inbox.js').ItemRecord} ItemRecord */
/** @typedef {import('../engine/types.js').Sealed} Sealed */
/** @typedef {import('../engine/types.js').Outcome} Outcome */
/** @typedef {import('./types.d.ts').ShownOptions} ShownOptions */
/** @typedef {{title: string, options: ShownOptions, closeAfter?: number}} Shown */

const VERSION = 1;
/** A host that is being paired just now gets this long to be pinned. */
const PIN_MS = 3_000;
const LOOK_MS = 250;
/** An end that is nothing to worry about goes away by itself. */
const GONE_MS = 5_000;
const ICON = '/icons/icon-192.png';

/** @type {(Outcome|'over')[]} */
const HARMLESS = ['approved', 'otherwise', 'replaced'];

/**
 * @param {ArrayBuffer} data
 * @returns {Sealed} throws when it is none
 */
export function unpack(data) {
  const reader = new Reader(new Uint8Array(data));
  if (reader.u8() !== VERSION) throw new TypeError('a push of another version');
  const envelope = fromUtf8(reader.take(reader.u16()));
  const sealed = base64(reader.take(SEALED_BYTES));
  reader.end();
  return { envelope, sealed };
}

/**
 * @param {Store|undefined} store none when the database does not open
 * @returns {Promise<typeof en>} the words of the person's language
 */
export async function words(store) {
  const language = (await store?.meta('language').catch(() => undefined)) ?? globalThis.navigator?.language ?? '';
  return language.startsWith('de') ? de : en;
}

/**
 * @param {Store|undefined} store none when the database does not open
 * @param {ArrayBuffer|undefined} data
 * @returns {Promise<Shown>} what is shown for a push
 */
export async function ring(store, data) {
  const text = await words(store);
  try {
    const own = await store?.device();
    if (!store || !own || !data) return plain(text.neutral, text.neutralBody);
    const sealed = unpack(data);
    let received = await store.receive(sealed, own);
    for (let waited = 0; received.kind === 'parked' && waited < PIN_MS; waited += LOOK_MS) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      received = await store.receive(sealed, own);
    }
    return await shownFor(store, received, text);
  } catch (error) {
    console.error(error);
    return plain(text.neutral, text.neutralBody);
  }
}

/**
 * @param {Store} store
 * @param {Received} received
 * @param {typeof en} text
 * @returns {Promise<Shown>}
 */
async function shownFor(store, received, text) {
  switch (received.kind) {
    case 'request':
      return request(received.item, text);
    case 'known': {
      if (!received.key) return plain(text.neutral, text.neutralBody);
      const item = await store.item(received.key);
      if (!item) return plain(text.late, text.lateBody);
      return item.phase === 'open' ? request(item, text) : ended(item.key, item.outcome, item, text);
    }
    case 'closed':
      return ended(received.key, received.outcome, received.item, text);
    case 'notice':
      return received.news.length > 0 ? news(received.news, text) : plain(text.neutral, text.neutralBody);
    case 'alarm': {
      const { machine, reason } = received.alarm;
      const body = machine ? fill(text.alarmBody, { machine }) : text.alarmUnknown;
      return { title: text.alarm, options: { body, tag: `alarm-${reason}`, requireInteraction: true, icon: ICON } };
    }
    case 'late':
      return plain(text.late, text.lateBody);
    case 'parked':
      return plain(text.pairing, text.neutralBody);
  }
}

/**
 * @param {string} title
 * @param {string} body
 * @returns {Shown}
 */
function plain(title, body) {
  return { title, options: { body, tag: 'countersign', icon: ICON } };
}

/**
 * @param {ItemRecord} item
 * @param {typeof en} text
 * @returns {Shown}
 */
function request({ key, machineName, request: r, receivedAt }, text) {
  const values = { who: r.requester ?? r.user, user: r.user, machine: machineName, service: r.service };
  const open = { action: 'open', title: text.open };
  const options = { tag: key, data: { key }, renotify: true, timestamp: receivedAt, icon: ICON };
  if (r.kind === 'test') {
    return { title: fill(text.test, values), options: { ...options, body: text.testBody, actions: [open] } };
  }
  const isForAnother = r.requester !== undefined && r.requester !== r.user;
  const title = fill(isForAnother ? text.askAs[r.kind] : text.ask[r.kind], values);
  const from = r.remote ? fill(text.from, { address: r.remote.address }) : text.local;
  const several = r.approvals.needed > 1 ? [fill(text.several, { n: String(r.approvals.needed) })] : [];
  const isNew = r.context?.new_source ? [text.fromNew] : [];
  const body = [...several, fill(text.body, values), from, ...isNew].join('\n');
  const actions = [open, { action: 'deny', title: text.deny }];
  return { title, options: { ...options, body, actions, requireInteraction: true } };
}

/**
 * @param {string} key
 * @param {Outcome|'over'|undefined} outcome
 * @param {ItemRecord|undefined} item
 * @param {typeof en} text
 * @returns {Shown}
 */
export function ended(key, outcome, item, text) {
  const rang = item?.request.kind === 'test' && outcome === 'approved';
  const title = rang ? text.rang : outcome ? text.ended[outcome] : text.ended.answered;
  const body = item ? fill(text.endedBody, { user: item.request.user, machine: item.machineName, service: item.request.service }) : '';
  const isTooLate = outcome === 'approved' && item?.answer !== undefined && item.answer !== 'approve';
  const isHarmless =
    (outcome !== undefined && HARMLESS.includes(outcome) && !isTooLate) ||
    (outcome === 'denied' && item?.answer === 'deny') ||
    (outcome === 'reported' && item?.answer === 'report') ||
    item?.request.kind === 'test';
  const options = { body, tag: key, data: { key }, silent: true, icon: ICON };
  return { title, options, ...(isHarmless && { closeAfter: GONE_MS }) };
}

/**
 * @param {import('../engine/types.js').DeviceNews[]} told at least one
 * @param {typeof en} text
 * @returns {Shown}
 */
function news(told, text) {
  /** @type {(template: string, one: import('../engine/types.js').DeviceNews) => string} */
  const say = (template, { machine, user, device }) => fill(template, { machine, user, device });
  const [one] = told;
  const [title, body] =
    one && told.length === 1
      ? [text.news[one.what], say(text.newsBody, one)]
      : [text.newsMany, told.map((each) => `${text.news[each.what]}: ${say(text.newsLine, each)}`).join('\n')];
  return { title, options: { body, tag: `news-${one?.id}`, requireInteraction: true, icon: ICON } };
}

/**
 * @param {string} template
 * @param {Record<string, string>} values from outside
 */
function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (_, name) => escape(values[name] ?? ''));
}
