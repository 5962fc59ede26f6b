// What becomes of a request at this device: a state machine over records, without I/O or clock. A request
// is ended by its host's signed `closed` or by its time, never by a word of the relay.

import { Fault } from '../core/fault.js';
import { MAX_EXPIRES_IN } from '../core/messages.js';

/** @typedef {import('./types.js').Request} Request */
/** @typedef {import('./types.js').Answer} Answer */
/** @typedef {import('./types.js').Outcome} Outcome */
/** @typedef {import('./types.js').Sealed} Sealed */
/** @typedef {import('./types.js').Alarm} Alarm */

/**
 * @typedef {object} ItemRecord
 * @property {string} key
 * @property {string} machine key id
 * @property {string} machineName
 * @property {Request} request
 * @property {string} digest
 * @property {number} receivedAt ms since 1970, as all times here
 * @property {number} endsAt
 * @property {number} [clockApart] seconds that the host's clock is ahead, when that is much
 * @property {'open'|'signing'|'decided'|'closed'} phase
 * @property {number} [signingUntil]
 * @property {number} [attempt] the counter of the answer that is being signed, or was
 * @property {Answer} [answer]
 * @property {string} [code]
 * @property {string} [unsent] eight digits in place of an approval that cannot be sent
 * @property {number} [leaseUntil]
 * @property {Sealed} [sealed]
 * @property {boolean} [delivered]
 * @property {number} [sent] how often
 * @property {number} [againAt]
 * @property {Outcome|'over'} [outcome]
 * @property {number} [endedAt]
 */

/** @typedef {{key: string, machine: string, machineName: string, request: Request, digest: string}} Arrival */
/** @typedef {{key: string, digest: string, outcome: Outcome}} Closing */
/** @typedef {Alarm['reason']} Reason */

/** Most requests of one host that are open here; the host itself allows fewer. */
export const MAX_OPEN_PER_HOST = 16;
/** Most ids of closed requests of one host that are remembered. */
export const MAX_CLOSED_PER_HOST = 1000;
/** Most ended requests of one host that are kept to be shown for a while; the history has more. */
export const MAX_ENDED_PER_HOST = 50;
/** How long a closed id is remembered after its request's end. */
export const REMEMBER_MS = 300_000;
/** How far a host's clock may be ahead before it is said, in seconds; one that is behind looks like a message that came late. */
const CLOCKS_APART = 30;
/** A request from further ahead than this is damaged, or made up, in seconds. */
const MAX_AHEAD = 24 * 3600;
/** After a request's end its `closed` may still be on the way; so long nothing is said about it. */
const LAST_WORD_MS = 3_000;
/** A signature takes no longer, unless the page that makes it is gone. */
const SIGNING_MS = 10_000;
/** How long an ended request is shown. */
export const SHOWN_MS = 600_000;
/** Waits before a decision is sent again; the last one repeats. */
const AGAIN_MS = [1_000, 2_000, 4_000, 8_000, 15_000];

/**
 * When a request that comes now ends: counted by its host's clock, but not longer than `expires_in` when that
 * clock is ahead of ours.
 * @param {Request} request
 * @param {number} now
 */
function life(request, now) {
  const seconds = Math.floor(now / 1000);
  const ahead = request.issued_at - seconds;
  const left = Math.min(request.issued_at + request.expires_in - seconds, request.expires_in);
  return { left, ahead };
}

/**
 * A verified request comes, for the first time or again.
 * @param {Arrival} arrival
 * @param {{known: ItemRecord|undefined, isClosed: boolean, openOfHost: number}} at
 * @param {number} now
 * @returns {{record: ItemRecord}|{alarm: Reason}|{late: number}|undefined} `late`: seconds after its end
 */
export function arrive(arrival, { known, isClosed, openOfHost }, now) {
  if (known) return known.digest === arrival.digest ? undefined : { alarm: 'two-requests' };
  if (isClosed) return undefined;
  const { left, ahead } = life(arrival.request, now);
  if (left <= 0) return { late: Math.abs(left) };
  if (ahead > MAX_AHEAD) return { alarm: 'damaged' };
  if (openOfHost >= MAX_OPEN_PER_HOST) return { alarm: 'too-many' };
  /** @type {ItemRecord} */
  const record = { ...arrival, receivedAt: now, endsAt: now + left * 1000, phase: 'open' };
  if (ahead > CLOCKS_APART) record.clockApart = ahead;
  return { record };
}

/**
 * A host's verified `closed` comes.
 * @param {Closing} closing
 * @param {ItemRecord|undefined} known
 * @param {number} now
 * @returns {{alarm: Reason}|{rememberUntil: number, ended?: ItemRecord}}
 */
export function close({ digest, outcome }, known, now) {
  if (known && known.digest !== digest) return { alarm: 'other-request-closed' };
  const left = known ? Math.max(known.endsAt - now, 0) : MAX_EXPIRES_IN * 1000;
  const rememberUntil = now + left + REMEMBER_MS;
  const isNews = known && (known.phase !== 'closed' || known.outcome === 'over');
  return isNews ? { rememberUntil, ended: ended(known, outcome, now) } : { rememberUntil };
}

/**
 * A code opens a login only as long as that waits: it is not kept for longer, nor what was sent.
 * @param {ItemRecord} record
 * @param {Outcome|'over'} outcome
 * @param {number} at
 * @returns {ItemRecord}
 */
function ended({ code, unsent, sealed, againAt, sent, signingUntil, attempt, ...record }, outcome, at) {
  return { ...record, phase: 'closed', outcome, endedAt: at };
}

/** An approval that waits for its code, or for the host to hear of it; a test ring opens nothing. @param {ItemRecord} record */
const isApproved = ({ phase, answer, request }) => phase === 'decided' && answer === 'approve' && request.kind !== 'test';

/**
 * The person answers: the answer is being signed. An approval may be followed by a no, which the host takes as long
 * as nobody is in.
 * @param {ItemRecord|undefined} record
 * @param {Answer} answer
 * @param {number} attempt never the same again
 * @param {number} now
 * @returns {ItemRecord} throws a Fault when there is nothing to answer
 */
export function answered(record, answer, attempt, now) {
  const isOpen = record && (record.phase === 'open' || (isApproved(record) && answer !== 'approve'));
  if (!isOpen || record.endsAt <= now) throw new Fault('expired');
  return { ...record, phase: 'signing', answer, attempt, signingUntil: now + SIGNING_MS };
}

/**
 * @param {ItemRecord|undefined} record
 * @param {number|undefined} attempt a page that was suspended while it signed must not undo what was answered since
 * @param {{sealed: Sealed, code?: string, unsent?: string, leaseUntil?: number}} decision
 * @param {number} now
 * @returns {ItemRecord|undefined} nothing when it has ended, or was answered anew, meanwhile
 */
export function signed(record, attempt, decision, now) {
  if (record?.phase !== 'signing' || record.attempt !== attempt) return undefined;
  const { code, unsent, leaseUntil, ...rest } = record;
  return { ...rest, ...decision, phase: 'decided', delivered: false, sent: 1, againAt: now + wait(0) };
}

/**
 * It could not be signed: the person may answer again, and an approval that was to be taken back stands.
 * @param {ItemRecord|undefined} record
 * @param {number|undefined} attempt
 * @returns {ItemRecord|undefined}
 */
export function notSigned(record, attempt) {
  if (record?.phase !== 'signing' || record.attempt !== attempt) return undefined;
  const { answer, signingUntil, attempt: _, ...rest } = record;
  return record.sealed ? { ...rest, phase: 'decided', answer: 'approve' } : { ...rest, phase: 'open' };
}

/**
 * Whether a decision is to be sent again now.
 * @param {ItemRecord} record
 * @param {number} now
 */
export function isDue(record, now) {
  return record.phase === 'decided' && record.endsAt > now && (record.againAt ?? 0) <= now;
}

/**
 * The decision is sent once more.
 * @param {ItemRecord} record
 * @param {number} now
 * @returns {ItemRecord}
 */
export function sentAgain(record, now) {
  const sent = record.sent ?? 0;
  return { ...record, sent: sent + 1, againAt: now + wait(sent) };
}

/** @param {number} sent */
export function wait(sent) {
  return AGAIN_MS[Math.min(sent, AGAIN_MS.length - 1)] ?? 0;
}

/**
 * Time passes.
 * @param {ItemRecord} record
 * @param {number} now
 * @returns {ItemRecord|'unchanged'|'forget'}
 */
export function tick(record, now) {
  if (record.phase === 'closed') return (record.endedAt ?? 0) + SHOWN_MS <= now ? 'forget' : 'unchanged';
  if (record.endsAt + LAST_WORD_MS <= now) return ended(record, 'over', record.endsAt);
  if (record.phase === 'signing' && (record.signingUntil ?? 0) <= now) return notSigned(record, record.attempt) ?? 'unchanged';
  return 'unchanged';
}

/**
 * @param {ItemRecord[]} records
 * @returns {Set<ItemRecord>} the ended ones that are too many, each host's oldest
 */
export function tooMany(records) {
  /** @type {Map<string, number>} */
  const ended = new Map();
  const closed = records.filter(({ phase }) => phase === 'closed').sort((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0));
  return new Set(
    closed.filter(({ machine }) => {
      const count = (ended.get(machine) ?? 0) + 1;
      ended.set(machine, count);
      return count > MAX_ENDED_PER_HOST;
    }),
  );
}
