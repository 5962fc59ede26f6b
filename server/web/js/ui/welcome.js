// Before anything is paired: what this is, and the ways to pair.

import { parseTicket } from '../core/ticket.js';
import { t, tt } from '../text/index.js';
import { h } from './dom.js';
import { faultText } from './faults.js';
import { icon } from './icons.js';
import { mustInstall } from './install.js';
import { heading, installOnApple, steps, typed } from './parts.js';
import { openScanner } from './scanner.js';
import { formatTicket } from './fields.js';

/** @param {import('./types.js').Context} context @returns {import('./types.js').Page} */
export function welcomePage(context) {
  return {
    title: () => t('welcome.title'),
    view: () => h('div', { class: 'welcome', 'data-testid': 'welcome' },
      h('div', { class: 'hero' }, heading(t('welcome.title')), h('p', { class: 'lead' }, t('welcome.lead'))),
      mustInstall() ? installFirst() : waysToPair(context)),
  };
}

/** On iOS outside the installed app. */
export const installFirst = () => h('section', { class: 'panel', 'data-testid': 'install-first' },
  h('h2', null, icon('install'), h('span', null, t('ios.title'))), h('p', null, t('ios.text')), installOnApple());

/** The three steps, the scanner and the typed ticket. @param {import('./types.js').Context} context */
export function waysToPair(context) {
  return [
    h('section', { class: 'panel' }, h('h2', null, t('welcome.how')),
      steps([tt('welcome.run', { command: typed('countersign pair USER') }), t('welcome.scan'), t('welcome.compare')]),
      h('button', { type: 'button', class: 'primary wide', 'data-testid': 'scan', onclick: () => scan(context) }, icon('scan'), h('span', null, t('welcome.scan.button')))),
    ticketForm(context),
  ];
}

/** @param {import('./types.js').Context} context */
async function scan(context) {
  const text = await openScanner({ title: t('scan.pair'), accept: (found) => (/\/pair#/.test(found.text) ? found.text : undefined) });
  if (text) pairWith(context, text);
}

/** @param {import('./types.js').Context} context @param {string} link */
function pairWith(context, link) {
  context.handed.link = link;
  context.go('#/pair');
}

/** @param {import('./types.js').Context} context */
const ticketForm = (context) => h('form', {
  class: 'panel ticket', onsubmit: (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    const input = /** @type {HTMLInputElement} */ (form.querySelector('input'));
    const error = /** @type {HTMLElement} */ (form.querySelector('[data-testid="ticket-error"]'));
    const typed = input.value.trim();
    try {
      parseTicket(typed);
      pairWith(context, typed);
    } catch (fault) {
      error.textContent = faultText(fault);
      input.focus();
    }
  },
},
h('label', { for: 'ticket' }, t('ticket.label')),
h('p', { class: 'hint', id: 'ticket-hint' }, t('ticket.hint')),
h('div', { class: 'field' },
  h('input', { id: 'ticket', type: 'text', 'data-testid': 'ticket', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', inputmode: 'text',
    placeholder: 'xxxxx-xxxxx-xxxxx-xxxxx-xxxxxx', 'aria-describedby': 'ticket-hint ticket-error', maxlength: 200, oninput: formatAsTyped }),
  h('button', { type: 'submit', 'data-testid': 'ticket-go' }, t('ticket.go'))),
h('p', { class: 'error', id: 'ticket-error', role: 'alert', 'data-testid': 'ticket-error', 'data-own': true }));

/** Puts the dashes in while somebody types, and leaves the cursor where it was. @param {Event} event */
function formatAsTyped(event) {
  const input = /** @type {HTMLInputElement} */ (event.currentTarget);
  // A pasted link stays as it is.
  if (input.value.includes('/')) return;
  const before = input.value.slice(0, input.selectionStart ?? input.value.length).replace(/[\s-]/g, '').length;
  const text = formatTicket(input.value);
  if (text === input.value) return;
  input.value = text;
  let at = 0;
  for (let seen = 0; at < text.length && seen < before; at += 1) if (text[at] !== '-') seen += 1;
  if (text[at] === '-') at += 1;
  input.setSelectionRange(at, at);
}
