// What was asked, kept on this device only.

import { day, duration, hour, t } from '../text/index.js';
import { outcomeIcon } from './card.js';
import { ask } from './dialog.js';
import { h } from './dom.js';
import { guarded, heading, row } from './parts.js';
import { icon } from './icons.js';
import { details, headline, moment, outcomeText, said } from './words.js';

/** @typedef {import('./types.js').HistoryEntry} HistoryEntry */

/** @param {import('./types.js').Context} context @returns {import('./types.js').Page} */
export function historyPage(context) {
  /** @type {HistoryEntry[]|undefined} */ let entries;
  const load = () => context.engine.history().then((found) => {
    const before = entries;
    entries = found;
    if (JSON.stringify(before) !== JSON.stringify(found)) context.refresh();
  }, context.fail);
  context.engine.addEventListener('change', load);
  load();

  async function clear() {
    if (!(await ask({ title: t('history.clear.title'), text: t('history.clear.text'), yes: t('history.clear'), danger: true }))) return;
    await context.engine.clearHistory().catch(context.fail);
    await load();
  }

  return {
    title: () => t('history.title'),
    view: () => [
      heading(t('history.title')),
      h('p', { class: 'lead' }, t('history.lead')),
      entries === undefined ? null : entries.length ? days(entries) : h('p', { class: 'panel' }, t('history.none')),
      entries?.length ? h('p', { class: 'more', 'data-key': 'clear' }, h('button', { type: 'button', class: 'plain', 'data-testid': 'clear-history', onclick: clear }, t('history.clear'))) : null,
    ],
    close: () => context.engine.removeEventListener('change', load),
  };
}

/** Newest day first. @param {HistoryEntry[]} entries */
function days(entries) {
  const sorted = [...entries].sort((a, b) => b.at - a.at);
  /** @type {Map<string, HistoryEntry[]>} */
  const found = new Map();
  for (const entry of sorted) {
    const name = guarded(() => day(entry.at), () => t('unknown'));
    found.set(name, [...(found.get(name) ?? []), entry]);
  }
  return [...found].map(([name, list]) => h('section', { class: 'day', 'data-key': name }, h('h2', { class: 'section' }, name),
    h('div', { class: 'panel entries' }, list.map((entry) => row(entry.key, () => line(entry))))));
}

/** @param {HistoryEntry} entry */
const line = (entry) => h('details', { 'data-key': entry.key, 'data-testid': 'entry', 'data-request': entry.key, 'data-outcome': entry.outcome },
  h('summary', null, h('span', { class: `outcome ${entry.outcome}` }, icon(outcomeIcon(entry.outcome))),
    h('span', { class: 'what' }, h('span', null, headline(entry)), h('span', { class: 'hint' }, outcomeText(entry.outcome, entry.answer, entry.request.kind), ' · ', moment(entry.at, hour)))),
  h('dl', { class: 'rows' }, details(entry).map((row) => h('div', { class: 'row' }, h('dt', null, t(`row.${row.name}`)), said(row))),
    entry.late ? h('p', { class: 'hint' }, t('history.late', { late: duration(entry.late) })) : null));
