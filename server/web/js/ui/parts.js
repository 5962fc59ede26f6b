// Small pieces that several pages use.

import { t } from '../text/index.js';
import { h } from './dom.js';

/** A page's heading, which takes the focus when the page is opened. @param {import('./dom.js').Child} text */
export const heading = (text) => h('h1', { tabindex: '-1', 'data-heading': true, 'data-testid': 'heading', 'data-key': 'heading' }, text);

/** A command to type at a machine. @param {string} command */
export const typed = (command) => h('code', { class: 'typed-inline' }, command);

/** Steps, numbered. @param {import('./dom.js').Child[]} items */
export const steps = (items) => h('ol', { class: 'steps' }, items.map((item) => h('li', null, h('div', null, item))));

/** Label and value. @param {import('./dom.js').Child} label @param {import('./dom.js').Child} value @param {string} [testid] */
export const fact = (label, value, testid) => h('div', { class: 'row' }, h('dt', null, label), h('dd', { 'data-testid': testid }, value));

/**
 * A choice among few, as a row of radio buttons.
 * @param {string} name @param {string} legend @param {[string, string][]} choices value and words
 * @param {string} chosen @param {(value: string) => void} choose
 */
export const choice = (name, legend, choices, chosen, choose) => h('fieldset', { class: 'choice' }, h('legend', null, legend),
  h('div', { class: 'segments' }, choices.map(([value, words]) => h('label', null,
    h('input', { type: 'radio', name, value, checked: value === chosen, 'data-testid': name, onchange: (event) => choose(event.currentTarget.value) }),
    h('span', null, words)))));

/** How to put the app on an iPhone's or iPad's home screen. */
export const installOnApple = () => steps([t('ios.share'), t('ios.add'), t('ios.open'), t('ios.scan')]);
