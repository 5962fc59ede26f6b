// Whether a request would reach the person: the connection, ringing, keys that stay, a second device.

import { t, tt } from '../text/index.js';
import { h } from './dom.js';
import { outside } from './escape.js';
import { icon } from './icons.js';
import { canInstall, install, installed } from './install.js';

/** @typedef {import('./types.js').Context} Context */

/** @param {Context} context */
export function health(context) {
  const { engine } = context;
  const { state } = engine.connection;
  const server = outside(new URL(engine.self?.server ?? location.origin).host);
  return h('ul', { class: 'health' },
    line(state === 'live' ? 'good' : state === 'connecting' || state === 'idle' ? 'busy' : 'bad', tt(`health.${state}`, { server })),
    pushLine(context),
    engine.self && !engine.self.persisted ? line('warn', t('health.storage'), installButton(context)) : null,
    single(context) ? line('warn', t('health.single'), h('a', { class: 'button small', href: '#/machines' }, t('health.single.add'))) : null);
}

/** @param {'good'|'busy'|'warn'|'bad'} mood @param {import('./dom.js').Child} text @param {import('./dom.js').Child} [action] @param {import('./dom.js').Attributes} [attributes] */
const line = (mood, text, action, attributes = {}) => h('li', { class: mood, ...attributes },
  icon(mood === 'good' ? 'check' : mood === 'busy' ? 'history' : 'alarm'), h('span', null, text), action ?? null);

/** Whether this device rings, and the way to make it. @param {Context} context */
export function pushLine(context) {
  const { state, reason } = context.engine.push;
  const attributes = { 'data-testid': 'push', 'data-state': state };
  if (state === 'on') return line('good', t('push.on'), null, attributes);
  const turnOn = state === 'off' || state === 'failed'
    ? h('button', { type: 'button', class: 'small', 'data-testid': 'push-on', onclick: () => context.engine.enablePush().catch(context.fail) }, t('push.turn-on')) : null;
  return line('warn', [t(`push.${state}`), state === 'failed' && reason ? [' ', t(`fault.${reason}`)] : null], turnOn, attributes);
}

/** @param {Context} context */
export const installButton = (context) => (canInstall() && !installed()
  ? h('button', { type: 'button', class: 'small', 'data-testid': 'install', onclick: () => install().then(context.refresh) }, icon('install'), t('install.button')) : null);

/** Whether this is somebody's only device. @param {Context} context @param {boolean} [unheard] what counts where the machine has not said */
export const single = ({ engine }, unheard = false) => engine.machines.some((machine) => machine.users.some((user) => {
  const known = machine.devices[user];
  return known ? known.peers.length + known.more < 2 : unheard;
}));
