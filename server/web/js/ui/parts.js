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

// One part that cannot be drawn leaves all others as they are: what a page shows comes from machines, and from records
// that another version of the app has kept.

/**
 * @template T, U
 * @param {() => T} make
 * @param {() => U} otherwise
 */
export function guarded(make, otherwise) {
  try {
    return make();
  } catch (error) {
    console.error(error);
    return otherwise();
  }
}

/** A row of a list, or a line in its place. @param {string} key @param {() => HTMLElement} make @param {string} [tag] */
export const row = (key, make, tag = 'p') => guarded(make, () => unshown(tag, key, t('unshown.row')));

/** The page, or a line in its place. @param {import('./types.js').Page} page */
export const whole = (page) => guarded(page.view, () => [heading('Countersign'), unshown('p', 'page', t('unshown.page'))]);

/** @param {string} tag @param {string} key @param {...import('./dom.js').Child} content */
export const unshown = (tag, key, ...content) => h(tag, { class: 'panel', 'data-key': key, 'data-testid': 'unshown' }, content);
