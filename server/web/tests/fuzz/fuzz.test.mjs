// Changed and made-up input for every parser that sees somebody else's bytes. `COUNTERSIGN_CASES` says how many (1,000 for
// most), or `COUNTERSIGN_SECONDS` for how long; a finding says how to play it again.

import '../setup.mjs';
import test from 'node:test';
import { attack } from './attack.mjs';
import * as encodings from './encodings.mjs';
import * as pictures from './pictures.mjs';
import * as server from './server.mjs';
import * as signed from './signed.mjs';

const targets = [...encodings.targets, ...signed.targets, ...server.targets, ...pictures.targets];

for (const target of targets) {
  test(target.name, async (t) => {
    t.diagnostic(`${await attack(target, targets.length)} cases`);
  });
}

test('every bit of a signature', async (t) => {
  t.diagnostic(`${await signed.everyBit()} cases`);
});
