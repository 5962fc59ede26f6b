// What waits for an answer.

import { t, tt } from '../text/index.js';
import { alarmCard, newsCard } from './alerts.js';
import { card, shown } from './card.js';
import { h } from './dom.js';
import { outside } from './escape.js';
import { groups } from './places.js';
import { guarded, heading, unshown } from './parts.js';
import { icon, mark } from './icons.js';
import { health } from './health.js';

/** @typedef {import('./types.js').Item} Item */
/** @typedef {import('./types.js').Context} Context */

/** @param {Context} context @returns {import('./types.js').Page} */
export function inboxPage(context) {
  const { engine } = context;
  return {
    title: () => t('inbox.title'),
    view: () => {
      const open = engine.items.filter(shown);
      const closed = engine.items.filter((item) => !shown(item));
      const quiet = !open.length && !engine.alarms.length;
      return [
        heading(t('inbox.title')),
        engine.alarms.map((alarm) => told(`alarm ${alarm.id}`, () => alarmCard(alarm, context), () => engine.dismissAlarm(alarm.id))),
        engine.news.map((news) => told(`news ${news.id}`, () => newsCard(news, context), () => engine.dismissNews(news.id))),
        groups(open).map((group) => (group.length > 1 ? guarded(() => conflict(group, context), () => group.map((item) => alone(item, context))) : group.map((item) => alone(item, context)))),
        quiet ? empty(context) : null,
        closed.length ? h('section', { class: 'closed', 'data-key': 'closed' }, h('h2', { class: 'section' }, t('inbox.closed')),
          h('div', { class: 'cards' }, closed.map((item) => card(item, context)))) : null,
        h('p', { class: 'more', 'data-key': 'more' }, h('a', { href: '#/history' }, icon('history'), t('inbox.history'))),
      ];
    },
  };
}

/** @param {string} key @param {() => HTMLElement} make @param {() => unknown} dismiss */
const told = (key, make, dismiss) => guarded(make, () => unshown('div', key,
  h('p', null, t('unshown.row')), h('p', { class: 'actions' }, h('button', { type: 'button', onclick: dismiss }, t('alarm.dismiss')))));

/** @param {Item} item @param {Context} context */
const alone = (item, context) => h('div', { class: 'cards', 'data-key': `one ${item.key}` }, card(item, context));

/** @param {Item[]} group @param {Context} context */
function conflict(group, context) {
  const differs = group.some((item) => item.conflicts.some((c) => c.differs.length > 0));
  const answered = group.some((item) => item.phase !== 'open');
  const users = [...new Set(group.map((item) => item.request.user))];
  return h('section', { class: 'conflict', 'data-testid': 'conflict', 'data-key': `many ${group.map((item) => item.key).join(' ')}`, 'aria-labelledby': 'conflict-title' },
    h('div', { class: 'conflict-head', role: 'alert' }, icon('alarm'),
      h('div', null, h('h2', { id: 'conflict-title' }, tt('conflict.title', { n: String(group.length), users: h('span', null, users.map((user, i) => [i ? ', ' : null, outside(user)])) })),
        h('p', null, t(answered ? 'conflict.answered' : differs ? 'conflict.text' : 'conflict.same')))),
    h('div', { class: 'cards pair' }, group.map((item) => card(item, context))));
}

/** @param {Context} context */
const empty = (context) => h('section', { class: 'empty', 'data-testid': 'empty', 'data-key': 'empty' },
  h('div', { class: 'calm' }, mark(), h('p', { class: 'calm-title' }, t('inbox.empty')), h('p', null, t('inbox.empty.more'))),
  health(context));
