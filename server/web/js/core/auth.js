// How a device proves its key to a server: a statement for that server alone.

import { utf8 } from './bytes.js';
import * as check from './check.js';
import * as sshsig from './sshsig.js';

const MAX_STATEMENT = 1024;
const MAX_NONCE = 128;

const CHALLENGE = check.object({ nonce: check.text(MAX_NONCE, 1), expires_at: check.whole() });

/**
 * @param {import('./keys.js').SigningKey} key
 * @param {string} origin of the server, as this device knows it
 * @param {unknown} challenge what the server gave
 * @returns {Promise<{statement: string, signature: string}>}
 */
export async function prove(key, origin, challenge) {
  /** @type {{nonce: string, expires_at: number}} */
  const { nonce, expires_at } = CHALLENGE(challenge);
  const statement = JSON.stringify({ origin, key: key.publicKey.line, nonce, expires_at });
  const bytes = utf8(statement);
  if (bytes.length > MAX_STATEMENT) throw new TypeError('the statement is too long');
  return { statement, signature: await sshsig.sign(key, sshsig.NAMESPACE.auth, bytes) };
}
