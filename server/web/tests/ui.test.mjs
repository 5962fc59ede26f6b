// The parts of the pages that need no browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { escape } from '../js/ui/escape.js';
import { groups } from '../js/ui/groups.js';
import { fit } from '../js/ui/name.js';
import { placement } from '../js/ui/settle.js';
import { formatTicket } from '../js/ui/ticket.js';

test('what acts on its surroundings is escaped as Rust does it', () => {
  assert.equal(escape('alice'), 'alice');
  assert.equal(escape('a\x1b[31m\n'), 'a\\u{1b}[31m\\u{a}');
  assert.equal(escape('\u202eevil\u009b'), '\\u{202e}evil\\u{9b}');
  assert.equal(escape('back\\slash'), 'back\\\\slash');
  assert.equal(escape('\u{e0041}\u200b\ufe0f\u00ad\ufeff\u3164'), '\\u{e0041}\\u{200b}\\u{fe0f}\\u{ad}\\u{feff}\\u{3164}');
  assert.equal(escape('é 漢 😀 <b>'), 'é 漢 😀 <b>');
  assert.equal(escape('\ud800'), '\\u{d800}');
});

test('a ticket is grouped while it is typed, and what is easily mistaken is folded', () => {
  assert.equal(formatTicket('abcde'), 'abcde');
  assert.equal(formatTicket('ABCDEF'), 'abcde-f');
  assert.equal(formatTicket('abcde fghjk-mnpqr stvwx 0123456'), 'abcde-fghjk-mnpqr-stvwx-012345');
  assert.equal(formatTicket('oil'), '011');
  assert.equal(formatTicket('a/b?'), 'ab');
});

test('a name is cut to 64 bytes between characters', () => {
  assert.equal(fit('Pixel'), 'Pixel');
  assert.equal(fit('é'.repeat(40)), 'é'.repeat(32));
  assert.equal(fit(`${'x'.repeat(62)}😀`), 'x'.repeat(62));
});

test('requests in each other’s way stand together, others alone', () => {
  /** @param {string} key @param {string[]} others */
  const item = (key, ...others) => /** @type {any} */ ({ key, conflicts: others.map((other) => ({ key: other, differs: [] })) });
  const found = groups([item('a', 'c'), item('b'), item('c', 'a', 'd'), item('d')]);
  assert.deepEqual(found.map((group) => group.map((one) => one.key)), [['a', 'c', 'd'], ['b']]);
});

test('whatever moves the cards makes the buttons wait, and signing does not', () => {
  const item = { key: 'a', phase: 'open', request: { kind: 'command' } };
  /** @param {object} [changed] */
  const engine = (changed) => /** @type {any} */ ({ items: [item], alarms: [], news: [], ...changed });
  const before = placement(engine());
  for (const moved of [{ items: [] }, { items: [{ ...item, phase: 'decided' }] }, { alarms: [{ id: 1 }] }, { news: [{ id: 1 }] }]) {
    assert.notEqual(placement(engine(moved)), before, JSON.stringify(moved));
  }
  assert.notEqual(placement(engine(), { state: 'offline' }), before);
  assert.notEqual(placement(engine(), undefined, 'done'), placement(engine(), undefined, 'confirmed'));
  assert.equal(placement(engine({ items: [{ ...item, phase: 'signing' }] })), before);
});
