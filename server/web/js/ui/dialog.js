// A question that has to be answered before something is done that cannot be undone.

import { t } from '../text/index.js';
import { h } from './dom.js';

/**
 * @param {object} question
 * @param {string} question.title
 * @param {import('./dom.js').Child} question.text
 * @param {string} question.yes
 * @param {boolean} [question.danger]
 * @returns {Promise<boolean>} false when cancelled, by Escape too
 */
export function ask({ title, text, yes, danger }) {
  const asker = document.activeElement;
  const dialog = /** @type {HTMLDialogElement} */ (h('dialog', { 'aria-labelledby': 'dialog-title', 'data-testid': 'dialog' },
    h('h2', { id: 'dialog-title' }, title), h('div', { class: 'prose' }, h('p', null, text)),
    h('div', { class: 'actions' },
      h('button', { type: 'button', 'data-testid': 'dialog-no', autofocus: true, onclick: () => dialog.close('no') }, t('cancel')),
      h('button', { type: 'button', class: danger ? 'danger' : 'primary', 'data-testid': 'dialog-yes', onclick: () => dialog.close('yes') }, yes))));
  document.body.append(dialog);
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      if (asker instanceof HTMLElement) asker.focus();
      resolve(dialog.returnValue === 'yes');
    });
  });
}
