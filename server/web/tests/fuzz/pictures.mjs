// What a camera sees, and what a push brings: pictures may be anything, and the search for a code in them ends.

import assert from 'node:assert/strict';
import * as bytes from '../../js/core/bytes.js';
import { SEALED_BYTES } from '../../js/core/seal.js';
import { u16 } from '../../js/core/wire.js';
import { unpack } from '../../js/worker/ring.js';
import { decodeQR } from '../../vendor/qr/decode.js';
import encodeQR from '../../vendor/qr/index.js';
import { accepted } from './attack.mjs';

const LINK = 'https://push.example.com/pair#1.AQEBAQEBAQEBAQEBAQEBAQ.AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI';
/** Pixels of a module. */
const SCALE = 3;

/** @param {boolean[][]} modules */
function picture(modules) {
  const [height, width] = [modules.length * SCALE, modules[0].length * SCALE];
  const data = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (modules[Math.floor(y / SCALE)][Math.floor(x / SCALE)]) data.fill(0, (y * width + x) * 4, (y * width + x) * 4 + 3);
    }
  }
  return { width, height, data };
}

function pictures(random) {
  const text = random.chance(50) ? LINK : bytes.base64(random.bytes(1 + random.below(200)));
  const modules = encodeQR(text, 'raw', { ecc: random.one(['low', 'medium', 'high']), border: 4 });
  if (text === LINK) assert.equal(decodeQR(picture(modules)), text);
  const damage = random.one([1, 5, 50, 500]);
  for (let i = 0; i < damage; i++) {
    const row = random.one(modules);
    const at = random.below(row.length);
    row[at] = !row[at];
  }
  // A whole row, a cut, or noise all over.
  if (random.chance(20)) modules[random.below(modules.length)].fill(random.chance(50));
  if (random.chance(20)) modules.length = 1 + random.below(modules.length);
  const seen = picture(modules);
  for (let i = random.chance(30) ? seen.data.length : 0; i > 0; i -= 1 + random.below(20)) seen.data[i - 1] = random.below(256);
  try {
    assert.equal(typeof decodeQR(seen), 'string');
  } catch (error) {
    // The scanner takes whatever is thrown for a picture without a code.
    assert.ok(error instanceof Error && !(error instanceof assert.AssertionError), String(error));
  }
}

const write = (envelope, sealed) => bytes.concat(Uint8Array.of(1), u16(envelope.length), envelope, sealed);

async function pushes(random) {
  const good = write(bytes.utf8('{"version":1}'), random.bytes(SEALED_BYTES));
  const changed = random.chance(10) ? good : random.changedBytes(good);
  const read = await accepted(() => unpack(changed.slice().buffer), 'refusal', 'utf8');
  if (read) assert.deepEqual(write(bytes.utf8(read.envelope), bytes.fromBase64(read.sealed)), changed);
  else assert.notDeepEqual(changed, good);
}

/** @type {import('./attack.mjs').Target[]} */
export const targets = [
  { name: 'pictures of codes', share: 0.05, run: pictures },
  { name: 'pushes', share: 0.5, run: pushes },
];
