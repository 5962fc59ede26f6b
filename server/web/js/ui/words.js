// A request in words that are read at a glance. All that a host says is escaped here.

import { duration, hour, list, number, t, tn, tt, when } from '../text/index.js';
import { h } from './dom.js';
import { escape, outside } from './escape.js';
import { icon } from './icons.js';

/** @typedef {import('../engine/types.js').Request} Request */
/** @typedef {{machine: {name: string}|string, request: Request}} Asked an item, or a line of the history */
/** @typedef {{name: string, value: import('./dom.js').Child, source?: string, code?: boolean}} Row */

/** @param {Asked} asked */
const machineOf = ({ machine }) => (typeof machine === 'string' ? machine : machine.name);

/** The sentence for a request, and what goes into it. @param {Asked} asked @returns {[string, Record<string, string>]} */
function sentence(asked) {
  const { request } = asked;
  const who = request.requester ?? request.user;
  const as = who !== request.user && (request.kind === 'login' || request.kind === 'command');
  return [`ask.${request.kind}${as ? '.as' : ''}`, { who, user: request.user, machine: machineOf(asked), service: request.service }];
}

/** Who wants what, on which machine: one sentence. @param {Asked} asked */
export function headline(asked) {
  const [key, values] = sentence(asked);
  const nodes = Object.entries(values).map(([name, text]) => [name, h('strong', { 'data-testid': TEST_IDS[name] }, outside(text))]);
  return tt(key, Object.fromEntries(nodes));
}

/** @type {Record<string, string>} */
const TEST_IDS = { who: 'who', user: 'user', machine: 'machine', service: 'service' };

/** The same as text. @param {Asked} asked */
export function headlineText(asked) {
  const [key, values] = sentence(asked);
  return t(key, Object.fromEntries(Object.entries(values).map(([name, text]) => [name, escape(text)])));
}

/**
 * The rest, as rows: a name (of `row.…` and of Conflict.differs), nodes, and whose word they are where that stands apart.
 * @param {Asked} asked
 * @returns {Row[]}
 */
export function details(asked) {
  const { request: r } = asked;
  /** @type {Row[]} */
  const rows = [];
  if (r.command !== undefined) rows.push({ name: 'command', value: outside(r.command), source: r.kind === 'action' ? undefined : t('row.command.source'), code: true });
  if (r.action !== undefined) rows.push({ name: 'action', value: outside(r.action), code: true });
  if (r.detail !== undefined) rows.push({ name: 'detail', value: outside(r.detail) });
  if (r.list) rows.push({ name: 'list', value: tn('list.lines', r.list.lines) });
  if (r.kind !== 'test') rows.push({ name: 'from', value: from(asked) });
  // The sentence has the one who asks; what it leaves out is for whom.
  if (r.requester !== undefined && r.requester !== r.user && r.kind === 'action') rows.push({ name: 'as', value: outside(r.user) });
  if (r.kind !== 'test' && r.kind !== 'command') rows.push({ name: 'service', value: outside(r.service) });
  if (r.terminal !== undefined) rows.push({ name: 'terminal', value: outside(r.terminal) });
  if (r.ssh_key) rows.push({ name: 'ssh_key', value: [outside(r.ssh_key.fingerprint, 'code'), ' (', outside(r.ssh_key.type), ')'] });
  if (r.host.name !== machineOf(asked)) rows.push({ name: 'machine', value: tt('row.machine.renamed', { name: outside(r.host.name) }) });
  if (r.kind === 'unlock' || r.service === 'ask') rows.push({ name: 'note', value: t('row.note.claim') });
  if (r.approvals.needed > 1 || somebodyElse(asked) !== undefined) rows.push({ name: 'approvals', value: approvals(r) });
  return rows;
}

/** What stands beside a row's name. Whose word it is stands outside of a box that what it labels may fill. @param {Row} row */
export const said = ({ name, value, source, code }) => [
  h('dd', { 'data-testid': name.replace('_', '-'), class: code ? 'typed' : null, tabindex: code ? '0' : null }, value),
  source && h('dd', { class: 'word', 'data-testid': 'word' }, source),
];

/** A row that only matters because another request differs in it. @param {Asked} asked @param {string} name */
export function extraRow(asked, name) {
  const { requester, service, user } = asked.request;
  const value = name === 'machine' ? machineOf(asked) : name === 'user' ? user : name === 'service' ? service : name === 'requester' ? requester : undefined;
  return { name, value: value === undefined ? t('row.none') : outside(value) };
}

/**
 * Who wants in, where that is nobody for whom this device approves: its owner is one of those who are asked.
 * @param {Asked} asked
 * @returns {string|undefined}
 */
export function somebodyElse({ machine, request: r }) {
  if (typeof machine === 'string' || r.kind === 'test') return undefined;
  const users = /** @type {{users?: string[]}} */ (machine).users ?? [];
  const who = r.requester ?? r.user;
  return users.length === 0 || users.includes(who) || users.includes(r.user) ? undefined : who;
}

/** An approval's code, to be read out. @param {import('../engine/types.js').Item} item */
export function codeText(item) {
  const [who, code] = [somebodyElse(item), [...(item.code ?? '')].join(' ')];
  const values = { code, machine: escape(item.machine.name) };
  return who === undefined ? t('card.code.say', values) : t('card.code.tell.say', { ...values, who: escape(who) });
}

/** @param {Request} r */
function approvals(r) {
  const from = list(r.approvals.from.map(escape));
  return t(r.approvals.needed > 1 ? 'row.approvals.several' : 'row.approvals.one', { n: number(r.approvals.needed), from });
}

/** Where from, and whose word that is. @param {Asked} asked */
function from(asked) {
  const { remote, service } = asked.request;
  if (!remote) return tt('from.here', { machine: outside(machineOf(asked)) });
  const address = h('strong', null, outside(remote.address));
  const where = remote.port === undefined ? [address] : tt('from.port', { address, port: String(remote.port) });
  const { new_source: isNew, place } = asked.request.context ?? {};
  return [
    where, ' ', h('span', { class: 'word' }, tt(`from.${remote.source}`, { service: outside(service) })),
    place && h('span', { class: 'aside' }, outside(place.text), ' ', h('span', { class: 'word' }, t(`place.${place.source}`))),
    isNew && h('span', { class: 'aside new' }, icon('alarm'), h('span', null, t('from.new'))),
  ];
}

/**
 * What the machine's clock shows, where that is not what is seen here: another zone, or another time.
 * @param {Request} request
 * @param {number|undefined} apart seconds that the machine's clock is ahead, where that matters
 */
export function clockRows({ issued_at: issued, context }, apart) {
  const [at, zone] = [issued * 1000, context?.zone];
  const here = -new Date(at).getTimezoneOffset();
  const value = [
    zone && (apart || zone.offset !== here) && tt('row.time.there', { time: hour(at + zone.offset * 60_000, 'UTC'), zone: zoneName(zone) }),
    zone && apart && ' · ',
    apart ? t('row.time.ahead', { apart: duration(apart) }) : null,
  ];
  return value.some(Boolean) ? [{ name: 'time', value }] : [];
}

/** As "UTC+02:00, Europe/Berlin". @param {{name?: string, offset: number}} zone */
function zoneName({ name, offset }) {
  const utc = `UTC${offset < 0 ? '\u2212' : '+'}${new Date(Math.abs(offset) * 60_000).toISOString().slice(11, 16)}`;
  return name ? h('span', null, utc, ', ', outside(name)) : utc;
}

/** How it ended. @param {string} outcome @param {string} [answer] given here @param {string} [kind] of the request */
export function outcomeText(outcome, answer, kind) {
  if (outcome === 'approved' && kind === 'test') return t('answer.rang');
  if (outcome === 'approved' && answer && answer !== 'approve') return t('outcome.approved.too-late');
  const elsewhere = !answer && ['approved', 'denied', 'reported'].includes(outcome);
  return t(elsewhere ? `outcome.${outcome}.elsewhere` : `outcome.${outcome}`);
}

/** A fingerprint, in pieces that a person can compare. @param {string} fingerprint @param {string} [testid] */
export function fingerprint(fingerprint, testid) {
  const [, kind = '', rest = fingerprint] = /^(SHA256:)(.*)$/.exec(fingerprint) ?? [];
  const pieces = escape(rest).match(/.{1,8}/gs) ?? [];
  return h('code', { class: 'fingerprint', 'data-testid': testid }, [kind, ...pieces].map((piece) => h('span', null, piece)));
}

/** @param {number} ms since 1970 @param {(ms: number) => string} [say] */
export const moment = (ms, say = when) => h('time', { datetime: new Date(ms).toISOString() }, say(ms));
