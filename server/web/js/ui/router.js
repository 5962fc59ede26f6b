// Which page the address means.

import { devicesPage } from './devices.js';
import { historyPage } from './history.js';
import { inboxPage } from './inbox.js';
import { machinesPage } from './machines.js';
import { pairPage } from './pair.js';
import { codePage } from './phone-code.js';
import { requestPage } from './request.js';
import { settingsPage } from './settings.js';
import { lostPage, unsupportedPage } from './trouble.js';
import { welcomePage } from './welcome.js';

/** @typedef {import('./types.js').Context} Context */
/** @typedef {import('./types.js').Page} Page */

/** @type {Record<string, (context: Context, argument: string) => Page>} */
const PAGES = {
  inbox: inboxPage, request: requestPage, machines: machinesPage, devices: devicesPage, history: historyPage, code: codePage,
  settings: settingsPage, pair: pairPage, welcome: welcomePage, lost: lostPage, unsupported: unsupportedPage,
};
/** What may be seen before anything is paired. */
const WITHOUT_KEYS = new Set(['pair', 'settings']);

/** Whether nothing is paired: there are no keys yet, or no machine that they are for. @param {import('./types.js').Engine} engine */
export const isBare = ({ status, machines, alarms }) => status === 'new' || (status === 'ready' && !machines.length && !alarms.length);

/**
 * @param {string} hash `#/NAME/ARGUMENT`
 * @param {import('./types.js').Engine} engine
 * @returns {{name: string, argument: string}}
 */
export function routeOf(hash, engine) {
  const { status } = engine;
  if (status === 'unsupported' || status === 'lost') return { name: status, argument: '' };
  const [, name = '', argument = ''] = /^#\/([a-z]*)\/?(.*)$/.exec(hash) ?? [];
  const known = Object.hasOwn(PAGES, name) && name !== 'lost' && name !== 'unsupported' ? name : 'inbox';
  const page = isBare(engine) && !WITHOUT_KEYS.has(known) ? 'welcome' : known;
  return { name: page, argument: page === known ? decode(argument) : '' };
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @param {{name: string, argument: string}} route @param {Context} context */
export function pageFor(route, context) {
  const make = PAGES[route.name] ?? inboxPage;
  return make(context, route.argument);
}
