// How long something is open: text and bar, kept up to date once a second without drawing a page anew.

import { h } from './dom.js';
import { duration, number, t } from '../text/index.js';

/** Seconds left at which a screen reader hears of it. */
const SAID_AT = [60, 30, 10];
/** From here on the rest is shown as urgent. */
const URGENT = 15;

/** A clock that nobody sets: what `Item.endsAt` is on. */
export const steadyNow = () => performance.timeOrigin + performance.now();

/**
 * @param {number} endsAt ms
 * @param {object} options
 * @param {number} [options.total] ms, for the bar
 * @param {boolean} [options.wall] whether endsAt is on the wall's clock
 * @param {string} [options.subject] in whose name a screen reader hears of the end
 */
export function timeLeft(endsAt, { total, wall = false, subject }) {
  const left = secondsLeft(endsAt, wall);
  return h('div', {
    class: 'left', 'data-testid': 'time-left', 'data-ends': endsAt, 'data-wall': wall, 'data-total': total, 'data-subject': subject,
    'data-urgent': left <= URGENT,
  }, total ? h('span', { class: 'bar', 'aria-hidden': 'true' }, h('span', { class: 'rest' })) : null, h('span', { class: 'seconds' }, said(left)));
}

/** @param {number} endsAt @param {boolean} wall */
const secondsLeft = (endsAt, wall) => Math.max(0, Math.ceil((endsAt - (wall ? Date.now() : steadyNow())) / 1000));

/** @param {number} seconds */
function said(seconds) {
  if (seconds <= 0) return t('left.none');
  if (seconds < 100) return t('left.seconds', { n: number(seconds) });
  return t('left.minutes', { n: `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}` });
}

/** Brings every time left on screen up to date. @param {(text: string) => void} announce */
export function tick(announce) {
  for (const element of document.querySelectorAll('[data-ends]')) {
    if (!(element instanceof HTMLElement)) continue;
    const left = secondsLeft(Number(element.dataset.ends), element.hasAttribute('data-wall'));
    const before = Number(element.dataset.shown ?? NaN);
    element.dataset.urgent = String(left <= URGENT);
    const text = element.querySelector('.seconds');
    if (text && text.textContent !== said(left)) text.textContent = said(left);
    if (element.dataset.total) element.style.setProperty('--left', String(Math.min(1, (left * 1000) / Number(element.dataset.total))));
    const { subject } = element.dataset;
    if (subject && SAID_AT.some((at) => before > at && left <= at && left > 0)) announce(t('left.say', { left: duration(left), subject }));
    element.dataset.shown = String(left);
  }
}
