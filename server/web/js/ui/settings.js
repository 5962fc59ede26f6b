// Language, look, ringing, starting over, and what this is.

import { chosenLanguage, LANGUAGES, loadText, t, tt } from '../text/index.js';
import { ask } from './dialog.js';
import { h } from './dom.js';
import { outside } from './escape.js';
import { icon } from './icons.js';
import { installButton, pushLine } from './health.js';
import { choice, fact, heading } from './parts.js';

const THEME = 'countersign.theme';

/** @param {import('./types.js').Context} context @returns {import('./types.js').Page} */
export function settingsPage(context) {
  const { engine } = context;

  /** @param {string} theme */
  function paint(theme) {
    if (theme === 'system') localStorage.removeItem(THEME);
    else localStorage.setItem(THEME, theme);
    dispatchEvent(new Event('countersign-theme'));
  }

  /** @param {Event} event */
  async function speak(event) {
    const value = /** @type {HTMLSelectElement} */ (event.currentTarget).value;
    await loadText(value === 'de' ? 'de' : 'en');
    context.refresh();
  }

  async function startOver() {
    if (!(await ask({ title: t('settings.over.title'), text: t('settings.over.text'), yes: t('settings.over'), danger: true }))) return;
    await Promise.resolve(engine.forgetEverything()).then(() => context.go('#/'), context.fail);
  }

  return {
    title: () => t('settings.title'),
    view: () => [
      heading(t('settings.title')),
      h('section', { class: 'panel', 'data-key': 'look' },
        h('label', { for: 'language' }, t('settings.language')),
        h('select', { id: 'language', 'data-testid': 'language', onchange: speak },
          Object.entries(LANGUAGES).map(([code, name]) => h('option', { value: code, lang: code, selected: code === (chosenLanguage() ?? document.documentElement.lang) }, name))),
        choice('theme', t('settings.theme'), [['system', t('settings.theme.system')], ['light', t('settings.theme.light')], ['dark', t('settings.theme.dark')]],
          localStorage.getItem(THEME) ?? 'system', paint)),
      engine.status === 'ready' ? h('section', { class: 'panel', 'data-key': 'ring' }, h('h2', null, icon('bell'), h('span', null, t('settings.ring'))),
        h('ul', { class: 'health' }, pushLine(context)),
        engine.push.state === 'on' ? h('button', { type: 'button', class: 'small', 'data-testid': 'push-off', onclick: () => engine.disablePush().catch(context.fail) }, t('push.turn-off')) : null,
        installButton(context)) : null,
      engine.status === 'ready' ? h('section', { class: 'panel', 'data-key': 'over' }, h('h2', null, t('settings.over.head')), h('p', null, t('settings.over.text')),
        h('button', { type: 'button', class: 'danger', 'data-testid': 'start-over', onclick: startOver }, t('settings.over'))) : null,
      h('section', { class: 'panel', 'data-key': 'about' }, h('h2', null, t('settings.about')), h('p', null, t('settings.about.text')),
        h('dl', { class: 'rows' },
          fact(t('devices.server'), outside(new URL(engine.self?.server ?? location.origin).host)),
          fact(t('settings.version'), engine.appInfo ? outside(engine.appInfo.server) : t('unknown'), 'version'),
          fact(t('settings.licence'), 'Apache-2.0 / MIT'))),
      h('p', { class: 'more', 'data-key': 'more' }, h('a', { href: '#/history' }, icon('history'), tt('inbox.history', {}))),
    ],
  };
}
