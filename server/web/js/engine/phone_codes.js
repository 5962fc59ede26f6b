// Phone-code challenges that were scanned, and their codes. Needs no network.

import { fromBase64url } from '../core/bytes.js';
import { Fault } from '../core/fault.js';
import { isOf, phoneCode, readChallenge } from '../core/phone_code.js';

/** @typedef {import('../core/bytes.js').Bytes} Bytes */
/** @typedef {import('../core/phone_code.js').PhoneChallenge} PhoneChallenge */
/** @typedef {import('./types.js').Challenge} Challenge */
/** @typedef {import('./types.js').Machine} Machine */
/** @typedef {import('./device.js').Device} Device */

/** What was shown, and the bytes behind it. @type {WeakMap<Challenge, PhoneChallenge>} */
const shown = new WeakMap();

/**
 * @param {Uint8Array} bytes
 * @param {Machine[]} machines
 * @param {number} now
 * @returns {Challenge} throws a Fault
 */
export function show(bytes, machines, now) {
  const challenge = parsed(bytes);
  const machine = machines.find(({ id }) => isOf(challenge, fromBase64url(id)));
  if (!machine) throw new Fault('unknown-host');
  const { user, service, address } = challenge;
  const issuedAt = challenge.issuedAt * 1000;
  const endsAt = issuedAt + challenge.ttl * 1000;
  const view = { machine, user, service, address, issuedAt, endsAt, expired: endsAt <= now };
  shown.set(view, challenge);
  return view;
}

/** @param {Uint8Array} bytes */
function parsed(bytes) {
  try {
    return readChallenge(bytes);
  } catch (error) {
    throw new Fault('not-a-challenge', String(error));
  }
}

/**
 * Whether it is in time is the host's to say: its clock counts.
 * @param {Challenge} view one that was shown
 * @param {Device} own
 * @param {Bytes|undefined} card the one that the machine knows; nothing when the machine was forgotten meanwhile
 * @returns {Promise<string>} eight digits; throws a Fault
 */
export async function codeFor(view, own, card) {
  const challenge = shown.get(view);
  if (!challenge) throw new Fault('not-a-challenge');
  if (!card) throw new Fault('unknown-host');
  return phoneCode(own.sealKey.secret, card, fromBase64url(view.machine.id), challenge).catch((error) => {
    throw new Fault('not-a-challenge', String(error));
  });
}
