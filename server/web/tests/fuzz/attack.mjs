// Runs a target on many inputs. What it throws must have been thrown on purpose, and soon.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Alarming } from '../../js/engine/letter.js';
import { Fault } from '../../js/core/fault.js';
import { Random } from './random.mjs';

/** Longest processor time of one case: thousands of times what it takes. */
const MAX_MS = 2_000;
const seed = Number(process.env.COUNTERSIGN_SEED ?? Math.floor(Math.random() * 2 ** 32));
const share = Number(process.env.COUNTERSIGN_CASES ?? 1_000);
const seconds = Number(process.env.COUNTERSIGN_SECONDS ?? 0);

/**
 * @typedef {object} Target
 * @property {string} name
 * @property {number} share of COUNTERSIGN_CASES: what is slow is tried less often
 * @property {(random: Random) => unknown} run one case; an AssertionError is a finding
 */

/**
 * @param {Target} target
 * @param {number} targets how many share the time, where it is limited by time
 * @returns {Promise<number>} cases
 */
export async function attack({ name, share: part, run }, targets) {
  const [cases, until] = [Math.ceil(share * part), Date.now() + (seconds * 1000) / targets];
  let i = 0;
  for (; seconds > 0 ? Date.now() < until : i < cases; i++) {
    const before = process.cpuUsage();
    try {
      await run(new Random(seed + Math.imul(i, 0x9e3779b1)));
    } catch (error) {
      const again = `COUNTERSIGN_SEED=${seed} COUNTERSIGN_CASES=${Math.ceil((i + 1) / part)}`;
      // Not as its cause: not every reporter shows that.
      throw new Error(`${name}, case ${i}, again with ${again}: ${error.stack}`);
    }
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < MAX_MS * 1000, `${name}, case ${i}: ${(user + system) / 1000} ms, COUNTERSIGN_SEED=${seed}`);
  }
  return i;
}

/** Whether `throw new …` made it: `undefined.x` and a stack that is too deep are nobody's purpose. */
function onPurpose(error) {
  const [, url, line, column] = /(file:\S+\/web\/js\/\S+?):(\d+):(\d+)/.exec(error.stack?.split('\n').find((frame) => /^\s+at /.test(frame)) ?? '') ?? [];
  return url !== undefined && source(url)[Number(line) - 1]?.startsWith('throw new ', Number(column) - 1 - 'throw '.length);
}

/** @type {Map<string, string[]>} */
const sources = new Map();
function source(url) {
  if (!sources.has(url)) sources.set(url, readFileSync(fileURLToPath(url), 'utf8').split('\n'));
  return sources.get(url);
}

/** What parsers may throw, by name. */
const KINDS = {
  fault: (error) => error instanceof Fault && error.code !== 'unexpected',
  alarm: (error) => error instanceof Alarming,
  refusal: (error) => (error instanceof TypeError || error instanceof RangeError || error.constructor.name === 'BadSignature') && onPurpose(error),
  json: (error) => error instanceof SyntaxError && /JSON/.test(error.message),
  utf8: (error) => error.code === 'ERR_ENCODING_INVALID_ENCODED_DATA',
  crypto: (error) => error instanceof DOMException && ['OperationError', 'DataError'].includes(error.name),
};

/**
 * What a parser makes of something; nothing when it refuses it in one of these ways.
 * @template T
 * @param {() => T|Promise<T>} parse
 * @param {...keyof typeof KINDS} kinds
 * @returns {Promise<T|undefined>}
 */
export async function accepted(parse, ...kinds) {
  try {
    return await parse();
  } catch (error) {
    if (kinds.some((kind) => KINDS[kind](error))) return undefined;
    throw error;
  }
}
