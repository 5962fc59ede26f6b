// One part that cannot be drawn leaves all others as they are: what a page shows comes from machines, and from records
// that another version of the app has kept.

import { t } from '../text/index.js';
import { h } from './dom.js';
import { heading } from './parts.js';

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
