// One request, whole: where a notification leads to.

import { t } from '../text/index.js';
import { card } from './card.js';
import { h } from './dom.js';
import { heading, row } from './parts.js';
import { icon } from './icons.js';
import { headline, moment, outcomeText } from './words.js';

/** @param {import('./types.js').Context} context @param {string} key @returns {import('./types.js').Page} */
export function requestPage(context, key) {
  const { engine } = context;
  /** @type {import('./types.js').HistoryEntry|undefined} */ let past;
  let looked = false;
  engine.history().then((entries) => { past = entries.find((entry) => entry.key === key); looked = true; context.refresh(); }, context.fail);
  return {
    title: () => t('request.title'),
    view: () => {
      const item = engine.items.find((one) => one.key === key);
      const others = item?.conflicts.length ?? 0;
      return [
        heading(t('request.title')),
        others ? h('p', { class: 'banner refused', 'data-key': 'conflict' }, icon('alarm'), h('span', null, t('request.conflict'), ' ', h('a', { href: '#/' }, t('request.compare')))) : null,
        item ? h('div', { class: 'cards' }, card(item, context, { full: true })) : row('gone', () => gone(past, looked)),
        h('p', { class: 'more', 'data-key': 'more' }, h('a', { href: '#/' }, icon('inbox'), t('request.all'))),
      ];
    },
  };
}

/** @param {import('./types.js').HistoryEntry|undefined} past @param {boolean} looked */
const gone = (past, looked) => h('section', { class: 'panel', 'data-testid': 'gone' },
  past ? [h('h2', null, headline(past)), h('p', null, outcomeText(past.outcome, past.answer, past.request.kind), ' · ', moment(past.at))]
    : h('p', null, t(looked ? 'request.gone' : 'request.looking')));
