// When the cards last moved: a tap that was meant for what stood there before shall not count.

import { shown } from './card.js';

/**
 * All that decides where the cards stand: while it stays the same, so do they.
 * @param {import('./types.js').Engine} engine
 * @param {import('./types.js').Engine['connection']} [banner] what a banner above the page speaks of
 * @param {string} [step] of the page that is shown
 */
export function placement(engine, banner, step = '') {
  return JSON.stringify([
    banner ? [banner.state, banner.reason] : [], step,
    engine.alarms.map(({ id }) => id), engine.news.map(({ id }) => id),
    engine.items.filter(shown).map((item) => [item.key, item.phase === 'signing' ? 'open' : item.phase]),
  ]);
}
