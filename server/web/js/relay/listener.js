// What the server tells: an event stream, or long polls where a proxy holds streams back; again and again.

import { asFault, Fault } from '../core/fault.js';
import { SEALED } from './relay.js';
import { Parser } from './sse.js';

/** @typedef {import('./relay.js').Relay} Relay */
/** @typedef {import('../engine/types.js').Sealed} Sealed */
/** @typedef {import('../engine/types.js').Connection} Connection */

/** The first event has to come within this time. */
const FIRST_MS = 3_000;
/** A stream that brings nothing for this long is dead: comments come every 20 s. */
const SILENCE_MS = 50_000;
/** Long polls that bring nothing and do not wait either are not asked for more often. */
const POLL_PAUSE_MS = 500;
/** Waits before it is opened again; the last one repeats. Short: a login waits for a person who looks at this. */
const WAITS_MS = [200, 500, 1_000, 2_000, 4_000];
/** A server that does not take this device is asked less often. */
const REFUSED_MS = 30_000;

/**
 * @typedef {object} Hearer
 * @property {() => void} connected the server may have forgotten all that it does not send now
 * @property {(sealed: Sealed) => Promise<void>} message
 * @property {(connection: Connection) => void} state
 */

/** No first event in time: a proxy may hold the stream back. */
class HeldBack extends Error {}

/**
 * Listens until it is aborted.
 * @param {Relay} relay
 * @param {Hearer} hearer
 * @param {AbortSignal} signal
 * @param {(ms: number, signal: AbortSignal) => Promise<void>} [sleep] may wake early, when the network comes back
 */
export async function listen(relay, hearer, signal, sleep = pause) {
  let failures = 0;
  hearer.state({ state: 'connecting' });
  while (!signal.aborted) {
    let isOpen = false;
    const heard = {
      ...hearer,
      connected: () => {
        isOpen = true;
        failures = 0;
        hearer.state({ state: 'live' });
        hearer.connected();
      },
    };
    const fault = await follow(relay, heard, signal).then(() => new Fault('network', 'the stream ended'), asFault);
    if (signal.aborted) break;
    // What came and could not be kept is for the person to see, however well the stream is.
    const isPassing = isOpen && fault.code !== 'storage';
    hearer.state(isPassing ? { state: 'connecting' } : { state: isRefusal(fault) ? 'refused' : 'offline', reason: fault.code });
    await sleep(waitAfter(fault, failures), signal);
    failures += 1;
  }
  hearer.state({ state: 'idle' });
}

/** @param {Fault} fault */
const isRefusal = (fault) => fault.code === 'unknown-key' || fault.code === 'keys';

/**
 * Spread by up to a quarter, so that not everybody comes back at once after a restart.
 * @param {Fault} fault
 * @param {number} failures
 */
function waitAfter(fault, failures) {
  const base = isRefusal(fault) ? REFUSED_MS : (WAITS_MS[Math.min(failures, WAITS_MS.length - 1)] ?? 0);
  return Math.max(base + (base * Math.random()) / 4, (fault.retryAfter ?? 0) * 1000);
}

/**
 * @param {Relay} relay
 * @param {Hearer} hearer
 * @param {AbortSignal} signal
 */
async function follow(relay, hearer, signal) {
  // Whoever does not even give a token is not reached by long poll either.
  await relay.token();
  try {
    await stream(relay, hearer, signal);
  } catch (error) {
    if (!(error instanceof HeldBack)) throw error;
    await longPoll(relay, hearer, signal);
  }
}

/**
 * @param {Relay} relay
 * @param {Hearer} hearer
 * @param {AbortSignal} outer
 */
async function stream(relay, hearer, outer) {
  // Ended while the token was fetched: no event says so any more.
  if (outer.aborted) return;
  const controller = new AbortController();
  const abort = () => controller.abort();
  outer.addEventListener('abort', abort, { once: true });
  let isFirst = true;
  let timer = setTimeout(abort, FIRST_MS);
  try {
    const reader = (await relay.stream(controller.signal)).body?.getReader();
    if (!reader) throw new HeldBack();
    const parser = new Parser();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      for (const { name, data } of parse(parser, part.value)) {
        if (isFirst && name !== 'hello') throw new Fault('server', 'a stream without hello');
        isFirst = false;
        if (name === 'hello') hearer.connected();
        if (name === 'message') await hearer.message(sealed(data));
      }
      clearTimeout(timer);
      timer = setTimeout(abort, isFirst ? FIRST_MS : SILENCE_MS);
    }
  } catch (error) {
    if (outer.aborted) return;
    if (controller.signal.aborted && isFirst) throw new HeldBack();
    throw error instanceof Fault || error instanceof HeldBack ? error : new Fault('network', String(error));
  } finally {
    clearTimeout(timer);
    outer.removeEventListener('abort', abort);
    abort();
  }
}

/**
 * @param {Parser} parser
 * @param {Uint8Array} chunk
 */
function parse(parser, chunk) {
  try {
    return parser.push(chunk);
  } catch (error) {
    throw new Fault('server', String(error));
  }
}

/** @param {string} data @returns {Sealed} */
function sealed(data) {
  try {
    return SEALED(JSON.parse(data));
  } catch (error) {
    throw new Fault('server', String(error));
  }
}

/**
 * @param {Relay} relay
 * @param {Hearer} hearer
 * @param {AbortSignal} signal
 */
async function longPoll(relay, hearer, signal) {
  let polled = await relay.poll(undefined, signal);
  hearer.connected();
  while (!signal.aborted) {
    for (const { event, data } of polled.events) {
      if (event === 'message') await hearer.message(data);
    }
    const asked = Date.now();
    polled = await relay.poll(polled.cursor, signal);
    if (Date.now() - asked < POLL_PAUSE_MS) await pause(POLL_PAUSE_MS, signal);
  }
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal ends it early
 * @returns {Promise<void>}
 */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, signal.aborted ? 0 : ms);
    signal.addEventListener('abort', end);
  });
}
