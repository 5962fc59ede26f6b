// "Deny" in a notification: signed and sent by the service worker, without opening the app.

import { asFault } from '../core/fault.js';

/** @typedef {import('../engine/store.js').Store} Store */
/** @typedef {import('../relay/relay.js').Relay} Relay */

/** Waits between the tries; after them the app sends it when it is opened. */
const WAITS_MS = [500, 2_000, 5_000];

/**
 * @param {Store} store
 * @param {Relay} relay
 * @param {string} key
 * @returns {Promise<'denied'|'notDenied'|'tooLate'>}
 */
export async function deny(store, relay, key) {
  const own = await store.device();
  if (!own) return 'tooLate';
  const sealed = await store.decide(key, 'deny', own).then(
    (decided) => decided.sealed,
    async (error) => {
      if (asFault(error).code !== 'expired') throw error;
      const item = await store.item(key);
      // Pressed a second time.
      return item?.phase === 'decided' && item.answer === 'deny' ? item.sealed : undefined;
    },
  );
  if (!sealed) return 'tooLate';
  relay.use(own.key);
  for (const wait of [...WAITS_MS, undefined]) {
    const isSent = await relay.postDecision(sealed).then(
      () => true,
      () => false,
    );
    if (isSent) {
      await store.delivered(key);
      return 'denied';
    }
    if (wait !== undefined) await new Promise((resolve) => setTimeout(resolve, wait));
  }
  return 'notDenied';
}
