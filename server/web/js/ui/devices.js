// This device, and the person's others.

import { list, t } from '../text/index.js';
import { h } from './dom.js';
import { escape, outside } from './escape.js';
import { fact, heading, row } from './parts.js';
import { icon } from './icons.js';
import { installButton, pushLine, single } from './health.js';
import { peerLine, remove } from './machines.js';
import { fit, MAX_NAME } from './fields.js';
import { fingerprint, moment } from './words.js';

/** @typedef {import('./types.js').Context} Context */
/** @typedef {{peer: import('../engine/types.js').Peer, places: {machine: import('./types.js').Machine, user: string}[]}} Other */

/** @param {Context} context @returns {import('./types.js').Page} */
export const devicesPage = (context) => ({
  title: () => t('devices.title'),
  view: () => {
    const rest = others(context);
    return [
      heading(t('devices.title')),
      own(context),
      h('section', { class: 'panel', 'data-key': 'others' }, h('h2', null, icon('device'), h('span', null, t('devices.others'))),
        rest.length ? h('ul', { class: 'list' }, rest.map(({ peer, places }) => row(peer.id, () => {
          const line = peerLine(peer, () => remove(places, peer, context), list(places.map(({ machine, user }) => `${escape(user)}@${escape(machine.name)}`)));
          line.dataset.testid = 'other-device';
          return line;
        }, 'li'))) : h('p', null, t(single(context) ? 'devices.none' : 'devices.unheard')),
        h('p', { class: 'actions' }, h('a', { class: 'button', href: '#/machines' }, icon('plus'), t('health.single.add')))),
    ];
  },
});

/** @param {Context} context */
function own(context) {
  const { self } = context.engine;
  if (!self) return null;
  return h('section', { class: 'panel', 'data-testid': 'this-device', 'data-key': 'own' },
    h('h2', null, icon('device'), h('span', null, t('devices.own'))),
    h('form', { class: 'rename', onsubmit: (event) => rename(event, context) },
      h('label', { for: 'own-name' }, t('devices.name')),
      h('div', { class: 'field' },
        h('input', { id: 'own-name', name: 'name', type: 'text', value: self.name, required: true, maxlength: MAX_NAME, autocomplete: 'off', 'data-testid': 'name', 'aria-describedby': 'own-name-hint' }),
        h('button', { type: 'submit', 'data-testid': 'rename' }, t('devices.rename'))),
      h('p', { class: 'hint', id: 'own-name-hint' }, t('devices.name.hint'))),
    h('dl', { class: 'rows' },
      fact(t('row.fingerprint'), fingerprint(self.fingerprint, 'own-fingerprint')),
      fact(t('devices.kind'), self.algorithm === 'ssh-ed25519' ? 'Ed25519' : 'ECDSA P-256'),
      fact(t('devices.server'), outside(new URL(self.server).host)),
      fact(t('devices.since'), moment(self.createdAt))),
    h('ul', { class: 'health' },
      h('li', { class: self.persisted ? 'good' : 'warn', 'data-testid': 'persisted', 'data-persisted': String(self.persisted) }, icon(self.persisted ? 'check' : 'alarm'),
        h('span', null, t(self.persisted ? 'devices.kept' : 'devices.not-kept')), self.persisted ? null : installButton(context)),
      pushLine(context)));
}

/** @param {SubmitEvent} event @param {Context} context */
async function rename(event, context) {
  event.preventDefault();
  const name = fit(String(new FormData(/** @type {HTMLFormElement} */ (event.currentTarget)).get('name')).trim());
  if (!name) return;
  try {
    await context.engine.rename(name);
    context.note(t('devices.renamed', { name: escape(name) }));
  } catch (error) {
    context.fail(error);
  }
}

/** The other devices, each once, with the places where it approves. @param {Context} context @returns {Other[]} */
function others({ engine }) {
  /** @type {Map<string, Other>} */
  const found = new Map();
  for (const machine of engine.machines) {
    for (const [user, { peers }] of Object.entries(machine.devices)) {
      for (const peer of peers.filter((one) => !one.self)) {
        const known = found.get(peer.id);
        if (!known) found.set(peer.id, { peer: { ...peer }, places: [{ machine, user }] });
        else {
          known.places.push({ machine, user });
          known.peer.lastUsedAt = Math.max(known.peer.lastUsedAt ?? 0, peer.lastUsedAt ?? 0) || undefined;
        }
      }
    }
  }
  return [...found.values()];
}
