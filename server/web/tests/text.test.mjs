// Both languages say the same things, and the pages ask for nothing that is missing.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import de from '../js/text/de.js';
import en from '../js/text/en.js';

const UI = new URL('../js/ui/', import.meta.url);
/** @param {string} text */
const placeholders = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();
const sources = readdirSync(UI).map((name) => readFileSync(new URL(name, UI), 'utf8')).join('\n');

test('English and German have the same keys', () => {
  assert.deepEqual(Object.keys(de).sort(), Object.keys(en).sort());
});

test('they fill in the same values', () => {
  for (const [key, text] of Object.entries(en)) assert.deepEqual(placeholders(de[key]), placeholders(text), key);
});

test('nothing is empty', () => {
  for (const words of [en, de]) for (const [key, text] of Object.entries(words)) assert.ok(text.trim(), key);
});

test('every word that the pages name is there', () => {
  const named = [...sources.matchAll(/\bt{1,2}\(\s*'([a-z][\w.-]*)'/g)].map((match) => match[1]);
  assert.ok(named.length > 150, `found only ${named.length}`);
  for (const key of named) assert.ok(key in en, key);
});

test('every word made of a known part is there', () => {
  const types = readFileSync(new URL('../js/engine/types.js', import.meta.url), 'utf8').replace(/\n \*/g, '');
  /** The quoted names of a union type. @param {RegExp} pattern */
  const union = (pattern) => {
    const found = [...(pattern.exec(types)?.[1] ?? '').matchAll(/'([^']+)'/g)].map((match) => match[1]);
    assert.ok(found.length > 1, String(pattern));
    return found;
  };
  const wanted = [
    ...union(/@typedef \{([^}]*)\} FaultCode/).map((code) => `fault.${code}`),
    ...union(/@property \{([^}]*)\} reason\b/).flatMap((reason) => [`alarm.${reason}`, `alarm.${reason}.text`, `alarm.${reason}.next`]),
    ...union(/@typedef \{([^}]*)\} Outcome/).concat('over').map((outcome) => `outcome.${outcome}`),
    ...union(/Connection [^{]*\{([^}]*)\} state/).flatMap((state) => [`connection.${state}`, `health.${state}`]),
    ...union(/PushState [^{]*\{([^}]*)\} state/).map((state) => `push.${state}`),
    ...union(/@property \{([^}]*)\} kind/).flatMap((kind) => [`kind.${kind}`, `ask.${kind}`]),
    ...union(/\{\(([^)]*)\)\[\]\} differs/).map((name) => `row.${name}`),
    ...union(/source: ([^}]*)\}\} \[remote\]/).map((source) => `from.${source}`),
    ...union(/@property \{('paired'[^}]*)\} what/).flatMap((what) => [`news.${what}`, `news.${what}.ask`, `news.${what}.not`]),
  ];
  for (const key of wanted) assert.ok(key in en, key);
});

test('the pages know every fault that there is words for', () => {
  const known = readFileSync(new URL('faults.js', UI), 'utf8');
  for (const key of Object.keys(en).filter((name) => name.startsWith('fault.'))) assert.ok(known.includes(`'${key.slice(6)}'`), key);
});
