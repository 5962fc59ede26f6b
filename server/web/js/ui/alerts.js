// Things to be told that are no requests: alarms, and devices that came or went.

import { number, t, tt } from '../text/index.js';
import { h } from './dom.js';
import { escape, outside } from './escape.js';
import { icon } from './icons.js';
import { moment } from './words.js';

/** @typedef {import('./types.js').Context} Context */

/** What a screen reader hears of an alarm. @param {import('./types.js').Alarm} alarm */
export function alarmText({ machine, reason }) {
  const what = t(`alarm.${reason}`);
  return machine === undefined ? what : t('alarm.named', { machine: escape(machine), what });
}

/** @param {import('./types.js').DeviceNews} news */
export const newsText = ({ what, device, machine, user }) => t(`news.${what}`, { device: escape(device), machine: escape(machine), user: escape(user) });

/** @param {import('./types.js').Alarm} alarm @param {Context} context */
export function alarmCard(alarm, context) {
  const title = `alarm-${alarm.id}`;
  return h('article', { class: 'alarm', 'data-testid': 'alarm', 'data-reason': alarm.reason, 'data-key': `alarm ${alarm.id}`, 'aria-labelledby': title },
    h('div', { class: 'alarm-head' }, icon('alarm'), h('h2', { id: title, tabindex: '-1', 'data-focus': true },
      alarm.machine === undefined ? t(`alarm.${alarm.reason}`) : tt('alarm.named', { machine: outside(alarm.machine), what: t(`alarm.${alarm.reason}`) }))),
    h('p', null, t(`alarm.${alarm.reason}.text`)),
    h('p', { class: 'next' }, t(`alarm.${alarm.reason}.next`)),
    h('p', { class: 'hint' }, alarm.times > 1 ? [t('alarm.times', { n: number(alarm.times) }), ' · '] : null, moment(alarm.at),
      alarm.keyId === undefined ? null : [' · ', t('alarm.key'), ' ', outside(alarm.keyId, 'code')]),
    h('div', { class: 'actions' }, h('button', { type: 'button', 'data-testid': 'dismiss-alarm', onclick: () => context.engine.dismissAlarm(alarm.id) }, t('alarm.dismiss'))));
}

/** @param {import('./types.js').DeviceNews} news @param {Context} context */
export function newsCard(news, context) {
  const title = `news-${news.id}`;
  const names = { device: outside(news.device), machine: outside(news.machine), user: outside(news.user) };
  const mine = () => context.engine.dismissNews(news.id);
  return h('article', { class: 'news', 'data-testid': 'news', 'data-what': news.what, 'data-key': `news ${news.id}`, 'aria-labelledby': title },
    h('h2', { id: title, tabindex: '-1', 'data-focus': true }, icon('device'), h('span', null, tt(`news.${news.what}`, names))),
    h('p', null, t(`news.${news.what}.ask`), ' ', h('span', { class: 'hint' }, moment(news.at))),
    h('div', { class: 'actions' },
      h('button', { type: 'button', 'data-testid': 'news-mine', onclick: mine }, t('news.mine')),
      h('a', { class: 'button danger', href: '#/machines', 'data-testid': 'news-not-mine' }, t(`news.${news.what}.not`))));
}
