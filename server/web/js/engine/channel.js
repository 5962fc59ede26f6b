// Tabs and the service worker tell each other what has happened.

/** @typedef {import('./types.js').Connection} Connection */
/** @typedef {{type: 'changed'} | {type: 'who'} | {type: 'connection', connection: Connection}} Told */

export const CHANNEL = 'countersign';

/**
 * @param {(told: Told) => void} heard of another tab, or the worker
 * @returns {{tell: (told: Told) => void}}
 */
export function openChannel(heard) {
  if (!globalThis.BroadcastChannel) return { tell: () => undefined };
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = ({ data }) => heard(data);
  // Under node it would keep the process alive.
  /** @type {{unref?: () => void}} */ (channel).unref?.();
  return { tell: (told) => channel.postMessage(told) };
}
