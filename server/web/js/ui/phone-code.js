// A code without a network: the terminal's QR code in, eight digits out.

import { clock, t, tt } from '../text/index.js';
import { digits } from './card.js';
import { h } from './dom.js';
import { outside } from './escape.js';
import { faultBox, faultCode } from './faults.js';
import { icon } from './icons.js';
import { fact, heading } from './parts.js';
import { openScanner, readPhoto } from './scanner.js';
import { timeLeft } from './time.js';

/** @typedef {import('./types.js').Context} Context */
/** @typedef {import('./types.js').Challenge} Challenge */

/** @param {Context} context @returns {import('./types.js').Page} */
export function codePage(context) {
  /** @type {Challenge|undefined} */ let challenge;
  /** @type {string|undefined} */ let code;
  /** @type {string|undefined} */ let fault;

  /** @param {Uint8Array|undefined} bytes */
  async function read(bytes) {
    challenge = code = fault = undefined;
    try {
      if (bytes) challenge = await context.engine.readChallenge(bytes);
    } catch (error) {
      fault = faultCode(error);
    }
    drawn();
  }

  async function approve() {
    if (!challenge) return;
    try {
      code = await context.engine.phoneCode(challenge);
      context.announce(t('code.say', { code: [...code].join(' ') }));
    } catch (error) {
      fault = faultCode(error);
    }
    drawn();
  }

  function again() {
    challenge = code = fault = undefined;
    drawn();
  }

  function drawn() {
    context.refresh();
    /** @type {HTMLElement|null} */ (document.querySelector('[data-heading]'))?.focus({ preventScroll: true });
  }

  const scan = async () => {
    const bytes = await openScanner({ title: t('scan.code'), accept: (found) => (/^https?:/.test(found.text) ? undefined : found.bytes) });
    if (bytes) await read(bytes);
  };
  /** @param {Event} event */
  const photo = async (event) => {
    const input = /** @type {HTMLInputElement} */ (event.currentTarget);
    const [file] = input.files ?? [];
    if (!file) return;
    const found = await readPhoto(file);
    input.value = '';
    if (found) await read(found.bytes);
    else {
      again();
      fault = 'not-a-challenge';
      drawn();
    }
  };

  return {
    title: () => t('code.title'),
    view: () => {
      if (challenge && !fault) return [heading(t('code.title')), challengeSlip(challenge, code, approve, again)];
      return [
        heading(t('code.title')),
        h('p', { class: 'lead' }, t('code.lead')),
        fault === 'unknown-host' ? unknownHost() : fault ? faultBox(fault) : null,
        h('section', { class: 'panel scan' , 'data-key': 'scan' },
          h('button', { type: 'button', class: 'primary wide', 'data-testid': 'scan', onclick: scan }, icon('scan'), h('span', null, t('code.scan'))),
          h('label', { class: 'button wide file' }, icon('image'), h('span', null, t('code.photo')),
            h('input', { type: 'file', accept: 'image/*', 'data-testid': 'photo', onchange: photo })),
          h('p', { class: 'hint' }, t('code.offline'))),
      ];
    },
  };
}

const unknownHost = () => h('div', { class: 'alarm', role: 'alert', 'data-testid': 'alarm', 'data-reason': 'unknown-host' },
  h('div', { class: 'alarm-head' }, icon('alarm'), h('h2', null, t('alarm.unknown-host'))), h('p', null, t('code.unknown')), h('p', { class: 'next' }, t('code.unknown.next')));

/** @param {Challenge} challenge @param {string|undefined} code @param {() => void} approve @param {() => void} again */
function challengeSlip(challenge, code, approve, again) {
  const names = { user: h('strong', { 'data-testid': 'user' }, outside(challenge.user)), machine: h('strong', { 'data-testid': 'machine' }, outside(challenge.machine.name)) };
  return h('article', { class: 'card', 'data-testid': 'challenge', 'data-key': code ? 'code' : 'ask' },
    h('div', { class: 'kicker' }, icon('scan'), h('span', null, t('kind.code')), h('time', { datetime: new Date(challenge.issuedAt).toISOString() }, clock(challenge.issuedAt))),
    h('h2', { class: 'headline' }, tt('code.headline', names)),
    h('dl', { class: 'rows' }, fact(t('row.service'), outside(challenge.service), 'service'),
      fact(t('row.from'), challenge.address ? [h('strong', null, outside(challenge.address)), ' ', h('span', { class: 'word' }, t('code.unsigned'))] : tt('from.here', { machine: outside(challenge.machine.name) }), 'from')),
    h('div', { class: 'tear' }, timeLeft(challenge.endsAt, { total: Math.max(1000, challenge.endsAt - challenge.issuedAt), wall: true })),
    code ? h('div', { class: 'answered' }, h('p', { class: 'say' }, tt('code.type', { machine: outside(challenge.machine.name) })), digits(code, 4, 'phone-code'),
      h('p', { class: 'hint' }, t('card.code.hint')), h('div', { class: 'after' }, againButton(again, 'code.done')))
      : challenge.expired ? [faultBox('expired'), h('div', { class: 'answers' }, againButton(again, 'code.again'))]
        : h('div', { class: 'answers' },
          h('button', { type: 'button', class: 'deny', 'data-testid': 'code-again', onclick: again }, icon('cross'), h('span', null, t('code.no'))),
          h('button', { type: 'button', class: 'approve', 'data-testid': 'code-approve', onclick: approve }, icon('check'), h('span', null, t('answer.approve')))));
}

/** @param {() => void} again @param {string} words */
const againButton = (again, words) => h('button', { type: 'button', 'data-testid': 'code-again', onclick: again }, t(words));
