// When there is nothing to approve with: keys that vanished, and browsers that cannot.

import { t, tt } from '../text/index.js';
import { ask } from './dialog.js';
import { h } from './dom.js';
import { icon } from './icons.js';
import { heading, steps, typed } from './parts.js';

/** @param {import('./types.js').Context} context @returns {import('./types.js').Page} */
export const lostPage = (context) => ({
  title: () => t('lost.title'),
  view: () => [
    h('div', { class: 'hero' }, icon('alarm'), heading(t('lost.title')), h('p', { class: 'lead' }, t('lost.text'))),
    h('section', { class: 'panel' }, h('h2', null, t('lost.do')),
      steps([tt('lost.remove', { command: typed('countersign revoke USER DEVICE') }), tt('lost.pair', { command: typed('countersign pair USER') }), t('lost.keep')]),
      h('button', { type: 'button', class: 'primary wide', 'data-testid': 'start-over', onclick: () => startOver(context).catch(context.fail) }, t('lost.button'))),
  ],
});

/** @param {import('./types.js').Context} context */
async function startOver({ engine, go }) {
  // With machines that are here still the keys may be, too, and only could not be read today.
  const hasTraces = engine.machines.length > 0;
  if (hasTraces && !(await ask({ title: t('settings.over.title'), text: t('settings.over.text'), yes: t('settings.over'), danger: true }))) return;
  await engine.startOver();
  go('#/');
}

/** @param {import('./types.js').Context} context @returns {import('./types.js').Page} */
export const unsupportedPage = ({ engine }) => ({
  title: () => t('unsupported.title'),
  view: () => [
    h('div', { class: 'hero' }, icon('alarm'), heading(t('unsupported.title')), h('p', { class: 'lead' }, t(!isSecureContext ? 'unsupported.insecure' : engine.connection.reason === 'storage' ? 'unsupported.storage' : 'unsupported.text'))),
    h('section', { class: 'panel' }, h('h2', null, t('unsupported.do')),
      isSecureContext ? h('ul', { class: 'plain-list' }, ['chrome', 'firefox', 'safari'].map((name) => h('li', null, t(`unsupported.${name}`))))
        : h('p', null, tt('unsupported.https', { https: typed('https://'), localhost: typed('http://localhost') }))),
  ],
});
