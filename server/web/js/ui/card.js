// One request as a slip: what is asked above the tear line, the answer below it.

import { linesOf } from '../core/list.js';
import { clock, duration, shortDuration, t, tn, tt } from '../text/index.js';
import { h } from './dom.js';
import { escape, outside } from './escape.js';
import { fact, guarded } from './parts.js';
import { icon } from './icons.js';
import { steadyNow, timeLeft } from './time.js';
import { clockRows, details, extraRow, fingerprint, headline, headlineText, moment, outcomeText, said, somebodyElse } from './words.js';

/** @typedef {import('./types.js').Item} Item */
/** @typedef {import('./types.js').Context} Context */
/** @typedef {import('./types.js').Answer} Answer */

/** After cards have moved no answer is taken for so long: what has just come under a finger was not meant. */
const SETTLE_MS = 700;
/** Leases to choose from, below what the rule allows. */
const LEASES = [900, 3600, 14_400, 28_800];

/** Whether an item still asks for something, or for its code to be typed. @param {Item} item */
export const shown = (item) => item.phase !== 'closed';

/** @param {Item} item @param {Context} context @param {{full?: boolean}} [options] */
export const card = (item, context, { full = false } = {}) => guarded(() => slip(item, context, full), () => blank(item, context));

/** What cannot be shown can be denied all the same. @param {Item} item @param {Context} context */
function blank(item, context) {
  const isOpen = item.phase === 'open' || (item.phase === 'decided' && item.answer === 'approve');
  return h('article', {
    class: `card ${item.phase}`, 'data-key': item.key, 'data-testid': 'card', 'data-request': item.key, 'data-phase': item.phase, 'data-unshown': true,
  },
  h('p', { class: 'headline', tabindex: '-1', 'data-focus': true, 'data-testid': 'unshown' }, t(isOpen ? 'unshown.request' : 'unshown.row')),
  isOpen ? h('div', { class: 'answers' }, button(item, context, 'deny', 'answer.deny', 'deny')) : null);
}

/** @param {Item} item @param {Context} context @param {boolean} full */
function slip(item, context, full) {
  const id = `card-${item.digest.slice(0, 16)}`;
  const differs = new Set(item.phase === 'closed' ? [] : item.conflicts.flatMap((conflict) => conflict.differs));
  return h('article', {
    class: `card ${item.phase}`, 'data-key': item.key, 'data-testid': 'card', 'data-request': item.key, 'data-phase': item.phase,
    'data-kind': item.request.kind, 'data-outcome': item.outcome, 'aria-labelledby': id,
  },
  h('div', { class: 'kicker' }, icon(item.request.kind === 'test' ? 'bell' : item.request.kind), h('span', null, t(`kind.${item.request.kind}`)),
    h('time', { 'data-testid': 'asked-at', datetime: new Date(item.request.issued_at * 1000).toISOString() }, clock(item.request.issued_at * 1000))),
  h('h2', { id, class: 'headline', tabindex: '-1', 'data-focus': true, 'data-testid': 'headline' }, headline(item)),
  item.phase === 'closed' ? null : other(item),
  item.phase === 'closed' && !full ? null : rows(item, differs),
  item.phase === 'closed' ? null : listed(item),
  item.phase === 'closed' ? ended(item) : [tear(item), answerPart(item, context)],
  full ? technical(item) : null);
}

/** That this is another person's login. @param {Item} item */
function other(item) {
  const who = somebodyElse(item);
  return who === undefined ? null : h('p', { class: 'other', 'data-testid': 'somebody-else' }, icon('alarm'), h('span', null, tt('card.other', { who: outside(who) })));
}

/** @param {Item} item @param {Set<string>} differs */
function rows(item, differs) {
  /** @type {ReturnType<typeof details>} */
  const list = [...details(item), ...clockRows(item.request, item.clockApart)];
  for (const name of differs) if (!list.some((row) => row.name === name)) list.push(extraRow(item, name));
  return h('dl', { class: 'rows' }, list.map((row) => {
    const [name, marked] = [row.name, differs.has(row.name)];
    return h('div', { class: marked ? 'row differs' : 'row', 'data-key': name, 'data-testid': marked ? 'differs' : null, 'data-differs': marked ? name : null },
      h('dt', null, t(`row.${name}`), marked && h('span', { class: 'flag' }, t('conflict.differs'))),
      said(row));
  }));
}

/** A list as it is shown, made once. @type {WeakMap<object, string>} */
const inert = new WeakMap();
/** A list that is not longer is shown at once. */
const FEW_LINES = 8;

/** What it is done to, all of it; or why it is not here. @param {Item} item */
function listed({ request: { list }, listed: known, machine, phase }) {
  if (!list || !known) return null;
  if (known.state !== 'there') {
    return phase === 'open' && known.state !== 'loading' ? h('p', { class: 'banner refused', role: 'alert', 'data-testid': 'list-trouble', 'data-state': known.state },
      icon('alarm'), h('span', null, tt(`list.${known.state}`, { machine: outside(machine.name) }))) : null;
  }
  if (!inert.has(known)) inert.set(known, linesOf(known.text).map(escape).join('\n'));
  return h('details', { class: 'list', open: list.lines <= FEW_LINES, 'data-testid': 'list' },
    h('summary', null, tn('list.all', list.lines)),
    h('pre', { tabindex: '0', 'data-testid': 'list-text' }, inert.get(known)));
}

/** For whoever wants to compare with the machine's own records. @param {Item} item */
const technical = (item) => h('details', { class: 'technical' }, h('summary', null, t('request.technical')),
  h('dl', { class: 'rows' }, fact(t('row.fingerprint'), fingerprint(item.machine.fingerprint)), fact(t('row.digest'), h('code', { class: 'fingerprint' }, item.digest))));

/** The tear line, which is also the time that is left. @param {Item} item */
const tear = (item) => h('div', { class: 'tear' },
  timeLeft(item.endsAt, { total: item.request.expires_in * 1000, subject: headlineText(item) }));

/** @param {Item} item @param {Context} context */
function answerPart(item, context) {
  // What was sent before is being taken back.
  if (item.phase === 'decided' || item.delivered !== undefined) return decided(item, context);
  const busy = item.phase === 'signing';
  const { kind, lease_max } = item.request;
  if (kind === 'test') return h('div', { class: 'answers' }, button(item, context, 'approve', busy ? 'answer.signing' : 'answer.rang', 'primary'));
  return h('div', { class: 'answers' },
    lease_max ? leaseChoice(item, lease_max) : null,
    button(item, context, 'deny', 'answer.deny', 'deny'),
    unlisted(item) ? h('p', { class: 'pending', role: 'status', 'data-testid': 'list-state' }, t(item.listed?.state === 'loading' ? 'list.loading' : 'list.needed'))
      : button(item, context, 'approve', busy ? 'answer.signing' : 'answer.approve', 'approve'),
    button(item, context, 'report', reportWords(item), 'report'));
}

/** Whether its list is not here, without which nothing is approved. @param {Item} item */
const unlisted = ({ request, listed: known }) => Boolean(request.list) && known?.state !== 'there';

/** Of somebody else's login it is no news that it is not one's own. @param {Item} item */
const reportWords = (item) => (somebodyElse(item) === undefined ? 'answer.report' : 'answer.report.other');

/** @param {Item} item @param {Context} context @param {Answer} answer @param {string} words @param {string} style */
function button(item, context, answer, words, style) {
  const waits = performance.now() - context.settledAt() < SETTLE_MS;
  if (waits) wake(context);
  return h('button', {
    type: 'button', class: style, 'data-testid': answer, 'aria-disabled': waits || item.phase === 'signing' ? 'true' : null,
    onclick: (event) => {
      if (performance.now() - context.settledAt() < SETTLE_MS || item.phase === 'signing' || steadyNow() > item.endsAt) return;
      const lease = answer === 'approve' ? chosenLease(event.currentTarget) : 0;
      context.engine.decide(item.key, answer, lease ? { lease } : {}).catch(context.fail);
    },
  }, STYLE_ICONS[style] && icon(STYLE_ICONS[style] ?? ''), h('span', null, t(words)));
}

/** @type {Record<string, string>} */
const STYLE_ICONS = { approve: 'check', primary: 'check', deny: 'cross', report: 'alarm' };

/** @type {ReturnType<typeof setTimeout>|undefined} */
let waking;
/** Draws once more when the cards have settled. @param {Context} context */
function wake(context) {
  waking ??= setTimeout(() => { waking = undefined; context.refresh(); }, Math.max(50, SETTLE_MS + 20 - (performance.now() - context.settledAt())));
}

/** @param {Item} item @param {number} most seconds */
function leaseChoice(item, most) {
  const choices = [0, ...LEASES.filter((seconds) => seconds < most), most];
  return h('fieldset', { class: 'lease' }, h('legend', null, t('lease.title')),
    h('div', { class: 'segments' }, choices.map((seconds) => h('label', null,
      h('input', { type: 'radio', name: `lease-${item.key}`, value: String(seconds), checked: seconds === 0, 'data-testid': 'lease', 'aria-label': seconds ? duration(seconds) : null }),
      h('span', null, seconds ? shortDuration(seconds) : t('lease.none'))))),
    h('p', { class: 'hint', 'data-testid': 'lease-hint' }, t(item.request.kind === 'command' ? 'lease.hint.command' : 'lease.hint'),
      item.request.lease_uses ? [' ', tn('lease.uses', item.request.lease_uses)] : null));
}

/** @param {Element} pressed */
function chosenLease(pressed) {
  const chosen = pressed.closest('.card')?.querySelector('.lease input:checked');
  return chosen instanceof HTMLInputElement ? Number(chosen.value) : 0;
}

/** @param {Item} item @param {Context} context */
function decided(item, context) {
  const { code, answer } = item;
  const who = somebodyElse(item);
  const [approved, delivered] = [answer === 'approve', item.phase === 'decided' && Boolean(item.delivered)];
  return h('div', { class: 'answered' },
    approved && code ? [
      h('p', { class: 'say' }, who === undefined ? t('card.code.type') : tt('card.code.tell', { who: outside(who) })),
      digits(code, 3, 'code'),
      h('p', { class: 'hint' }, who === undefined ? t('card.code.hint') : tt('card.code.tell.hint', { who: outside(who) })),
    ] : h('p', { class: `verdict ${answer}` }, icon(approved ? 'check' : answer === 'report' ? 'alarm' : 'cross'), t(`answered.${item.request.kind === 'test' ? 'test' : answer}`)),
    approved && item.leaseUntil ? h('p', { class: 'hint', 'data-testid': 'leased' }, t('lease.until'), ' ', moment(item.leaseUntil)) : null,
    h('p', { class: 'delivery', 'data-testid': 'delivery', 'data-delivered': String(delivered) },
      h('span', { class: delivered ? 'dot good' : 'dot busy' }), t(delivered ? 'card.delivered' : 'card.sending')),
    approved && !delivered && item.unsent && context.engine.connection.state === 'offline' ? [
      h('p', { class: 'hint' }, t('card.unsent')), digits(item.unsent, 4, 'unsent-code')] : null,
    approved && item.request.kind !== 'test' ? h('div', { class: 'actions' },
      button(item, context, 'deny', 'answer.take-back', 'deny'), button(item, context, 'report', reportWords(item), 'report')) : null);
}

/** Digits in groups, large. Their text is the digits alone. @param {string} code @param {number} group @param {string} testid */
export function digits(code, group, testid) {
  const groups = code.match(new RegExp(`.{1,${group}}`, 'g')) ?? [];
  return h('output', { class: `digits of-${group}`, 'data-testid': testid }, groups.map((part) => h('span', null, part)));
}

/** @param {Item} item */
function ended(item) {
  const outcome = item.outcome ?? 'over';
  return h('p', { class: `outcome ${outcome}`, 'data-testid': 'outcome' }, icon(outcomeIcon(outcome)),
    h('span', null, outcomeText(outcome, item.answer, item.request.kind), item.endedAt ? [' · ', moment(item.endedAt)] : null));
}

/** @param {string} outcome */
export function outcomeIcon(outcome) {
  if (outcome === 'approved') return 'check';
  return ['denied', 'withdrawn', 'replaced'].includes(outcome) ? 'cross' : ['reported', 'failed'].includes(outcome) ? 'alarm' : 'history';
}
