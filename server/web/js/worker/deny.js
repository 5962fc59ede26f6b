// "Deny" in a notification: signed and sent by the service worker, without opening the app.

import { asFault, Fault } from '../core/fault.js';

/** @typedef {import('../engine/store.js').Store} Store */
/** @typedef {import('../relay/relay.js').Relay} Relay */

/** Waits between the tries; after them the app sends it when it is opened. */
const WAITS_MS = [500, 2_000, 5_000];

/**
 * @param {Store} store
 * @param {() => Promise<Relay>} open the server, asked for only once the answer is signed
 * @param {string} key
 * @returns {Promise<'denied'|'notDenied'|'tooLate'|'failed'>} never rejects: `notDenied` is signed and kept, and goes
 *   out with the app; `failed` is not
 */
export async function deny(store, open, key) {
  /** @type {Awaited<ReturnType<typeof signed>>} */
  let kept;
  try {
    kept = await signed(store, key);
  } catch (error) {
    console.error(error);
    return 'failed';
  }
  if (!kept) return 'tooLate';
  try {
    const relay = await open();
    relay.use(kept.own.key);
    if (!(await sent(relay, kept.sealed))) return 'notDenied';
  } catch (error) {
    console.error(error);
    return 'notDenied';
  }
  // If this cannot be noted the app sends it once more, which changes nothing.
  await store.delivered(key).catch(console.error);
  return 'denied';
}

/**
 * @param {Store} store
 * @param {string} key
 * @returns what to send, and as whom; nothing when the request has ended or got another answer. Throws a Fault
 */
async function signed(store, key) {
  const own = await store.device();
  if (!own) throw new Fault('keys');
  const sealed = await store.decide(key, 'deny', own).then(
    (decided) => decided.sealed,
    async (error) => {
      if (asFault(error).code !== 'expired') throw error;
      const item = await store.item(key);
      // Pressed a second time.
      return item?.phase === 'decided' && item.answer === 'deny' ? item.sealed : undefined;
    },
  );
  return sealed && { own, sealed };
}

/**
 * @param {Relay} relay
 * @param {import('../engine/types.js').Sealed} sealed
 * @returns {Promise<boolean>} whether the server has it
 */
async function sent(relay, sealed) {
  for (const wait of [...WAITS_MS, undefined]) {
    const isSent = await relay.postDecision(sealed).then(
      () => true,
      () => false,
    );
    if (isSent) return true;
    if (wait !== undefined) await new Promise((resolve) => setTimeout(resolve, wait));
  }
  return false;
}
