// What went wrong, in a sentence and a next step.

import { t } from '../text/index.js';
import { h } from './dom.js';
import { icon } from './icons.js';

/** @type {ReadonlySet<string>} */
const KNOWN = new Set(['network', 'server', 'limit', 'unknown-key', 'not-linked', 'old-card', 'bad-link', 'link-version', 'other-server',
  'mailbox-closed', 'mailbox-full', 'taken', 'contradiction', 'reveal', 'receipt', 'expired', 'cancelled', 'storage', 'keys', 'browser',
  'insecure', 'install-first', 'not-a-challenge', 'unknown-host', 'notify-denied', 'push', 'version', 'unexpected']);

/** The code of an error; what is no Fault is unexpected, and goes to the console. @param {unknown} error */
export function faultCode(error) {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (KNOWN.has(code)) return code;
  console.error(error);
  return 'unexpected';
}

/** @param {unknown} error */
export const faultText = (error) => t(`fault.${faultCode(error)}`);

/** A fault as a box. @param {string} code @param {...import('./dom.js').Child} next */
export const faultBox = (code, ...next) => h('div', { class: 'fault', role: 'alert', 'data-testid': 'fault', 'data-fault': code },
  icon('alarm'), h('div', null, h('p', null, t(`fault.${code}`)), next));
