// Pairing, from the link to the first ring.

import { t, tt } from '../text/index.js';
import { card, digits, shown } from './card.js';
import { h } from './dom.js';
import { escape, outside } from './escape.js';
import { faultBox, faultCode } from './faults.js';
import { icon } from './icons.js';
import { deviceName, mustInstall } from './install.js';
import { fit, MAX_NAME } from './fields.js';
import { heading, typed } from './parts.js';
import { installButton, pushLine, single } from './health.js';
import { timeLeft } from './time.js';
import { fingerprint } from './words.js';
import { installFirst, waysToPair } from './welcome.js';

/** @typedef {import('./types.js').Context} Context */
/** @typedef {import('./types.js').PairingSession} PairingSession */

/** A pairing lasts so long. */
const PAIRING_MS = 300_000;

/** @param {Context} context @returns {import('./types.js').Page} */
export function pairPage(context) {
  /** @type {PairingSession|undefined} */ let session;
  /** @type {string|undefined} */ let fault;
  let suggested = '';
  let step = '';
  const { link } = context.handed;
  delete context.handed.link;
  const must = mustInstall();

  async function open() {
    if (!link || must) return;
    suggested = context.engine.self?.name ?? (await deviceName());
    try {
      session = await context.engine.pair(link);
      session.addEventListener('change', changed);
    } catch (error) {
      fault = faultCode(error);
    }
    changed();
  }

  function changed() {
    context.refresh();
    const now = fault ?? session?.step ?? '';
    if (now === step) return;
    step = now;
    if (session?.step === 'code') context.announce(t('pair.code.say', { code: [...(session.code ?? '')].join(' '), machine: escape(session.host?.name ?? '') }));
    // A new step is a new page to whoever hears it.
    /** @type {HTMLElement|null} */ (document.querySelector('[data-heading]'))?.focus({ preventScroll: true });
  }

  open();
  return {
    title: () => t('pair.title'),
    step: () => fault ?? session?.step ?? '',
    view: () => {
      if (must) return [heading(t('pair.title')), installFirst()];
      if (!link) return [heading(t('pair.another')), h('p', { class: 'lead' }, t('pair.another.text')), waysToPair(context)];
      const now = fault ? 'failed' : (session?.step ?? 'opening');
      return h('section', { class: 'pairing', 'data-testid': 'pairing', 'data-step': now, 'data-key': `step ${now}` },
        fault || !session ? [heading(t(fault ? 'pair.failed' : 'pair.title')), fault ? failed(fault, context) : h('p', null, t('pair.opening'))]
          : STEPS[session.step](session, context, suggested));
    },
    close: () => {
      session?.removeEventListener('change', changed);
      if (session && !['done', 'failed'].includes(session.step)) session.cancel();
    },
  };
}

/** @type {Record<PairingSession['step'], (session: PairingSession, context: Context, suggested: string) => import('./dom.js').Child>} */
const STEPS = {
  ready: (session, context, suggested) => [
    heading(t('pair.title')),
    h('p', { class: 'lead' }, tt('pair.ready', { server: h('strong', { 'data-testid': 'pairing-server' }, outside(new URL(session.server).host)) })),
    h('p', null, t('pair.ready.more')),
    h('form', { class: 'panel', onsubmit: (event) => begin(event, session, context) },
      h('label', { for: 'device-name' }, t('pair.name')),
      h('input', { id: 'device-name', name: 'name', type: 'text', required: true, maxlength: MAX_NAME, value: suggested, autocomplete: 'off', 'data-testid': 'device-name', 'aria-describedby': 'device-name-hint' }),
      h('p', { class: 'hint', id: 'device-name-hint' }, t('pair.name.hint')),
      ringChoice(context),
      h('button', { type: 'submit', class: 'primary wide', 'data-testid': 'pair' }, t('pair.button'))),
  ],
  sending: (session, context) => waiting('pair.sending', session, context),
  waiting: (session, context) => waiting('pair.waiting', session, context),
  code: (session, context) => codeStep(session, context, false),
  confirmed: (session, context) => codeStep(session, context, true),
  done: (session, context) => done(session, context),
  failed: (session, context) => [heading(t('pair.failed')), failed(session.fault ?? 'unexpected', context)],
};

/** Whether this device shall ring: asked where the browser can. @param {Context} context */
function ringChoice({ engine }) {
  const { state } = engine.push;
  if (state === 'unsupported' || state === 'denied' || state === 'install') return h('p', { class: 'hint' }, t(`push.${state}`));
  return h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'notify', checked: true, 'data-testid': 'notify' }),
    h('span', null, h('strong', null, t('pair.notify')), h('span', { class: 'hint' }, t('pair.notify.hint'))));
}

/** @param {SubmitEvent} event @param {PairingSession} session @param {Context} context */
function begin(event, session, context) {
  event.preventDefault();
  const data = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
  session.start({ name: fit(String(data.get('name')).trim()), notify: data.has('notify') }).catch(context.fail);
}

/** @param {string} words @param {PairingSession} session @param {Context} context */
const waiting = (words, session, context) => [
  heading(t(words)), h('div', { class: 'panel centred' }, h('span', { class: 'spinner', 'aria-hidden': 'true' }), h('p', null, t(`${words}.text`)),
    timeLeft(session.endsAt, { total: PAIRING_MS, wall: true })), cancelButton(session, context),
];

/** @param {PairingSession} session @param {Context} context @param {boolean} confirmed */
function codeStep(session, context, confirmed) {
  const machine = session.host?.name ?? '';
  return [
    heading(tt(confirmed ? 'pair.confirmed' : 'pair.code', { machine: outside(machine) })),
    h('div', { class: 'panel slip' },
      h('p', { class: 'say' }, tt('pair.code.text', { machine: h('strong', { 'data-testid': 'pairing-machine' }, outside(machine)), user: h('strong', { 'data-testid': 'pairing-user' }, outside(session.user ?? '')) })),
      digits(session.code ?? '', 3, 'pairing-code'),
      h('div', { class: 'tear' }, timeLeft(session.endsAt, { total: PAIRING_MS, wall: true, subject: t('pair.title') })),
      h('dl', { class: 'rows' }, h('div', { class: 'row' }, h('dt', null, t('pair.key')), h('dd', null, fingerprint(session.host?.fingerprint ?? '', 'pairing-fingerprint')))),
      session.sameName ? sameName(session.sameName, machine) : null,
      h('p', { class: 'hint' }, t('pair.code.hint'))),
    cancelButton(session, context),
  ];
}

/** A machine of that name is paired already. @param {{fingerprint: string}} other @param {string} machine */
const sameName = (other, machine) => h('div', { class: 'banner', 'data-testid': 'same-name' }, icon('alarm'),
  h('div', null, h('p', null, tt('pair.same-name', { machine: outside(machine) })), fingerprint(other.fingerprint)));

/** @param {PairingSession} session @param {Context} context */
const cancelButton = (session, context) => h('p', { class: 'more' }, h('button', { type: 'button', class: 'plain', 'data-testid': 'pair-cancel', onclick: () => { session.cancel(); context.go('#/'); } }, t('cancel')));

/** @param {PairingSession} session @param {Context} context */
function done(session, context) {
  const machine = session.host?.name ?? '';
  // Whoever tries it at once stays on this page.
  const cards = context.engine.items.filter((item) => item.phase !== 'closed' || (item.request.kind === 'test' && item.machine.id === session.host?.id && (shown(item) || item.answer)));
  return [
    heading(t('pair.done')),
    h('p', { class: 'lead', 'data-testid': 'pairing-done' }, icon('check'), h('span', null, tt('pair.done.text', { machine: h('strong', null, outside(machine)), user: h('strong', null, outside(session.user ?? '')) }))),
    cards.length ? h('div', { class: 'cards' }, cards.map((item) => card(item, context))) : h('p', { class: 'panel centred' }, icon('bell'), t('pair.ringing')),
    h('ul', { class: 'health' }, pushLine(context)),
    installButton(context),
    single(context, true) ? h('section', { class: 'panel' }, h('h2', null, t('second.title')), h('p', null, tt('second.text', { command: typed('countersign pair USER'), machine: outside(machine) }))) : null,
    h('p', { class: 'more' }, h('a', { class: 'button wide', href: '#/' }, t('pair.to-inbox'))),
  ];
}

/** @param {string} code @param {Context} context */
const failed = (code, context) => [
  faultBox(code, h('p', { class: 'next' }, t('pair.failed.next'))),
  h('p', { class: 'more' }, h('button', { type: 'button', class: 'primary', 'data-testid': 'pair-again', onclick: () => context.go('#/pair') }, t('pair.again'))),
];
