// Where the cards stand: which belong side by side, and when they last moved.

import { shown } from './card.js';

/** @typedef {import('./types.js').Item} Item */

/** Items that are in each other's way stand together. @param {Item[]} items @returns {Item[][]} */
export function groups(items) {
  /** @type {Item[][]} */
  const out = [];
  const left = new Set(items);
  for (const first of items) {
    if (!left.delete(first)) continue;
    const group = [first];
    for (const item of group) {
      for (const other of [...left]) {
        const meet = item.conflicts.some((c) => c.key === other.key) || other.conflicts.some((c) => c.key === item.key);
        if (meet && left.delete(other)) group.push(other);
      }
    }
    out.push(group);
  }
  return out;
}

/**
 * All that decides where the cards stand: while it stays the same, so do they. A tap that was meant for what stood there
 * before shall not count.
 * @param {import('./types.js').Engine} engine
 * @param {import('./types.js').Engine['connection']} [banner] what a banner above the page speaks of
 * @param {string} [step] of the page that is shown
 */
export function placement(engine, banner, step = '') {
  return JSON.stringify([
    banner ? [banner.state, banner.reason] : [], step,
    engine.alarms.map(({ id }) => id), engine.news.map(({ id }) => id),
    engine.items.filter(shown).map((item) => [item.key, item.phase === 'signing' ? 'open' : item.phase, item.listed?.state]),
  ]);
}
