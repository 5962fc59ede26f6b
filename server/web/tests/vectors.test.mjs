import './setup.mjs';
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { run } from './vectors.js';

const folder = new URL('../../../protocol/vectors/', import.meta.url);
const load = async (name) => JSON.parse(await readFile(new URL(`${name}.json`, folder), 'utf8'));

for (const { name, ok, why } of await run(load)) {
  test(`vectors: ${name}`, () => assert.ok(ok, why));
}
