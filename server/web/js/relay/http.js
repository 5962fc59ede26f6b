// One call to the server: limited in time and size, its errors told apart.

import { concat, fromUtf8 } from '../core/bytes.js';
import { isRecord } from '../core/check.js';
import { Fault } from '../core/fault.js';

/** @typedef {import('../engine/types.js').FaultCode} FaultCode */
/** @typedef {(url: string, init?: RequestInit) => Promise<Response>} Fetch */

/** Longest time of a short call in milliseconds. */
export const SHORT_MS = 8_000;
/** Longest answer that is read: a long poll. */
const MAX_ANSWER = 4 * 1024 * 1024;
/** Longest error that is read. */
const MAX_PROBLEM = 16 * 1024;
/** Longest wait that the server may ask for, in seconds. */
const MAX_RETRY_AFTER = 3600;

/** What the server's own codes are here. @type {Record<string, FaultCode>} */
const CODES = {
  'unknown-key': 'unknown-key',
  'not-a-device': 'unknown-key',
  'is-host': 'unknown-key',
  'not-linked': 'not-linked',
  'old-card': 'old-card',
  'mailbox-closed': 'mailbox-closed',
  taken: 'taken',
};

/**
 * @typedef {object} Call
 * @property {string} method
 * @property {string} url
 * @property {unknown} [body] becomes JSON
 * @property {string} [token]
 * @property {string} [accept]
 * @property {AbortSignal} [signal]
 */

/**
 * Sends, and waits for the head of a good answer.
 * @param {Fetch} fetch
 * @param {Call} call
 * @returns {Promise<Response>} throws a Fault with the status in its detail
 */
export async function send(fetch, { method, url, body, token, accept, signal }) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (token !== undefined) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (accept !== undefined) headers.Accept = accept;
  /** @type {Response} */
  let response;
  try {
    response = await fetch(url, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ?? null,
      cache: 'no-store',
      credentials: 'same-origin',
      redirect: 'error',
      referrerPolicy: 'no-referrer',
    });
  } catch (error) {
    throw new Fault('network', String(error));
  }
  if (response.ok) return response;
  throw await refusal(response);
}

/**
 * Sends, and reads the whole JSON answer.
 * @param {Fetch} fetch
 * @param {Call} call
 * @param {number} [limitMs]
 * @returns {Promise<unknown>} `undefined` when the answer is empty
 */
export async function whole(fetch, call, limitMs = SHORT_MS) {
  const bytes = await octets(fetch, call, MAX_ANSWER, limitMs);
  if (bytes.length === 0) return undefined;
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch {
    throw new Fault('server', 'not JSON');
  }
}

/**
 * The same, and the answer as it is.
 * @param {Fetch} fetch
 * @param {Call} call
 * @param {number} most bytes
 * @param {number} limitMs
 */
export function octets(fetch, call, most, limitMs) {
  return within(limitMs, call.signal, async (signal) => read(await send(fetch, { ...call, signal }), most));
}

/**
 * Runs something that is aborted after a time, or by the caller.
 * @template T
 * @param {number} limitMs
 * @param {AbortSignal|undefined} outer
 * @param {(signal: AbortSignal) => Promise<T>} body
 * @returns {Promise<T>}
 */
export async function within(limitMs, outer, body) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  const timer = setTimeout(abort, limitMs);
  outer?.addEventListener('abort', abort, { once: true });
  if (outer?.aborted) abort();
  try {
    return await body(controller.signal);
  } catch (error) {
    throw controller.signal.aborted ? new Fault('network', 'no answer in time') : error;
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener('abort', abort);
  }
}

/**
 * @param {Response} response
 * @param {number} limit
 */
async function read(response, limit) {
  const parts = [];
  let length = 0;
  const reader = response.body?.getReader();
  try {
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
      length += part.value.length;
      if (length > limit) throw new Fault('server', 'too long an answer');
      parts.push(part.value);
    }
  } catch (error) {
    throw error instanceof Fault ? error : new Fault('network', String(error));
  }
  return concat(...parts);
}

/** @param {Response} response @returns {Promise<Fault>} */
async function refusal(response) {
  const { status } = response;
  let code = '';
  try {
    const problem = JSON.parse(fromUtf8(await read(response, MAX_PROBLEM)));
    if (isRecord(problem) && typeof problem.code === 'string') code = problem.code;
  } catch {
    // Then the status says it.
  }
  const [detail, answer] = [`status ${status} ${code}`, { status, retryAfter: retryAfter(response) }];
  if (status === 401) return new Unauthorized(detail);
  return new Fault(CODES[code] ?? byStatus(status, code), detail, answer);
}

/**
 * @param {number} status
 * @param {string} code
 * @returns {FaultCode}
 */
function byStatus(status, code) {
  if (status === 429) return 'limit';
  if (status >= 500) return 'server';
  if (status === 403 && code === 'limit') return 'mailbox-full';
  // It does not understand the call, or knows itself under another address.
  return 'version';
}

/** @param {Response} response */
function retryAfter(response) {
  const seconds = Number(response.headers.get('Retry-After') ?? 0);
  return seconds > 0 ? Math.min(seconds, MAX_RETRY_AFTER) : 0;
}

/** The token is not good (any more). */
export class Unauthorized extends Fault {
  /** @param {string} detail */
  constructor(detail) {
    super('server', detail);
  }
}
