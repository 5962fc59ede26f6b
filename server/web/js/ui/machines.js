// The machines that ask this device, and the person's devices at each.

import { number, t, tt } from '../text/index.js';
import { ask } from './dialog.js';
import { h } from './dom.js';
import { escape, outside } from './escape.js';
import { fact, heading, row, steps, typed } from './parts.js';
import { icon } from './icons.js';
import { fingerprint, moment } from './words.js';

/** @typedef {import('./types.js').Context} Context */
/** @typedef {import('./types.js').Machine} Machine */
/** @typedef {import('../engine/types.js').Peer} Peer */

/** @param {Context} context @returns {import('./types.js').Page} */
export const machinesPage = (context) => ({
  title: () => t('machines.title'),
  view: () => [
    heading(t('machines.title')),
    h('p', { class: 'lead' }, t('machines.lead')),
    context.engine.machines.length ? null : h('p', { class: 'panel' }, t('machines.none')),
    context.engine.machines.map((machine) => row(machine.id, () => machineCard(machine, context))),
    h('section', { class: 'panel', 'data-key': 'add' }, h('h2', null, icon('plus'), h('span', null, t('machines.add'))), h('p', null, tt('machines.add.text', { command: typed('countersign pair USER') })),
      h('a', { class: 'button', href: '#/pair' }, icon('scan'), t('machines.add.button'))),
    h('section', { class: 'panel', 'data-key': 'second' }, h('h2', null, icon('device'), h('span', null, t('second.title'))), h('p', null, t('second.why')),
      steps([tt('second.run', { command: typed('countersign pair USER') }), t('second.approve'), t('second.scan')])),
  ],
});

/** @param {Machine} machine @param {Context} context */
const machineCard = (machine, context) => h('article', { class: 'panel machine', 'data-key': machine.id, 'data-testid': 'machine', 'data-machine': machine.id, 'aria-label': escape(machine.name) },
  h('h2', { tabindex: '-1', 'data-focus': true }, icon('machine'), h('span', { 'data-testid': 'machine-name' }, outside(machine.name))),
  h('dl', { class: 'rows' },
    fact(t('row.fingerprint'), fingerprint(machine.fingerprint, 'machine-fingerprint')),
    fact(t('machines.users'), machine.users.map((user, i) => [i ? ', ' : null, outside(user)])),
    fact(t('machines.paired'), moment(machine.pairedAt)),
    fact(t('machines.used'), machine.lastUsedAt ? moment(machine.lastUsedAt) : t('never'))),
  machine.users.map((user) => row(user, () => devicesOf(machine, user, context))),
  h('div', { class: 'actions' }, h('button', { type: 'button', class: 'plain', 'data-testid': 'forget-machine', onclick: () => forget(machine, context) }, t('machines.forget'))));

/** @param {Machine} machine @param {string} user @param {Context} context */
function devicesOf(machine, user, context) {
  const known = machine.devices[user];
  return h('section', { class: 'peers', 'data-key': user },
    h('h3', null, tt('machines.devices', { user: outside(user) })),
    known ? [
      h('ul', { class: 'list' }, known.peers.map((peer) => row(peer.id, () => peerLine(peer, () => remove([{ machine, user }], peer, context)), 'li'))),
      known.more ? h('p', { class: 'hint' }, t('machines.more', { n: number(known.more) })) : null,
      h('p', { class: 'hint' }, t('machines.heard'), ' ', moment(known.heardAt)),
    ] : h('p', { class: 'hint' }, t('machines.unheard')));
}

/** @param {Peer} peer @param {() => void} onremove @param {import('./dom.js').Child} [where] */
export const peerLine = (peer, onremove, where) => h('li', { 'data-key': peer.id, 'data-testid': 'device', 'data-device': peer.id, class: peer.self ? 'self' : null },
  icon('device'),
  h('div', null, h('p', null, h('strong', null, outside(peer.name)), peer.self ? h('span', { class: 'tag' }, t('devices.this')) : null),
    h('p', { class: 'hint' }, where ? [where, ' · '] : null, peer.lastUsedAt ? [t('devices.used'), ' ', moment(peer.lastUsedAt)] : t('devices.unused'))),
  peer.removing ? h('span', { class: 'hint' }, t('devices.removing'))
    : h('button', { type: 'button', class: 'small danger', 'data-testid': 'remove-device', 'aria-label': t('devices.remove.named', { name: escape(peer.name) }), onclick: onremove }, t('devices.remove')));

/** Takes a device's right to approve away, after asking. @param {{machine: Machine, user: string}[]} places @param {Peer} peer @param {Context} context */
export async function remove(places, peer, context) {
  const yes = await ask({
    title: t('devices.remove.title', { name: escape(peer.name) }),
    text: [t(peer.self ? 'devices.remove.self' : 'devices.remove.text'), ' ', places.map(({ machine, user }, i) => [i ? ', ' : null, outside(`${user}@${machine.name}`)])],
    yes: t('devices.remove'), danger: true,
  });
  if (!yes) return;
  try {
    for (const { machine, user } of places) await context.engine.removeDevice(machine.id, user, peer.id);
    context.note(t('devices.removed', { name: escape(peer.name) }));
  } catch (error) {
    context.fail(error);
  }
}

/** @param {Machine} machine @param {Context} context */
async function forget(machine, context) {
  const yes = await ask({ title: t('machines.forget.title', { machine: escape(machine.name) }), text: t('machines.forget.text'), yes: t('machines.forget'), danger: true });
  if (yes) await Promise.resolve(context.engine.forgetMachine(machine.id)).catch(context.fail);
}
