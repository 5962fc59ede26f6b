// What node lacks of a browser.

import { webcrypto } from 'node:crypto';
import { createRequire } from 'node:module';

// Node 18 has WebCrypto, but not under the name that browsers have it.
if (!globalThis.crypto) Object.defineProperty(globalThis, 'crypto', { value: webcrypto });
// Nor has it this event.
globalThis.CustomEvent ??= class extends Event {
  constructor(type, { detail, ...rest } = {}) {
    super(type, rest);
    this.detail = detail;
  }
};

const require = createRequire(new URL('../../../tests/web/package.json', import.meta.url));

/** A database of its own, in memory. */
export function memoryDatabase() {
  const { IDBFactory } = require('fake-indexeddb');
  return new IDBFactory();
}
