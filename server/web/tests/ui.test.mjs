// The pages and their parts, as far as they need no browser.

import { all } from './dom.mjs';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadText } from '../js/text/index.js';
import en from '../js/text/en.js';
import { devicesPage } from '../js/ui/devices.js';
import { escape } from '../js/ui/escape.js';
import { groups, placement } from '../js/ui/places.js';
import { whole } from '../js/ui/parts.js';
import { historyPage } from '../js/ui/history.js';
import { inboxPage } from '../js/ui/inbox.js';
import { machinesPage } from '../js/ui/machines.js';
import { fit, formatTicket } from '../js/ui/fields.js';
import { lostPage } from '../js/ui/trouble.js';
import { outcomeText } from '../js/ui/words.js';

await loadText();

const machine = (change = {}) => ({ id: 'm', name: 'db-1', fingerprint: 'SHA256:abc', users: ['alice'], pairedAt: 1, devices: {}, ...change });
const item = (key, change = {}, request = {}) => ({
  key, machine: machine(), digest: 'd'.repeat(64), endsAt: Infinity, phase: 'open', conflicts: [], ...change,
  request: { host: { name: 'db-1' }, user: 'alice', service: 'sshd', kind: 'login', issued_at: 1, expires_in: 60, approvals: { needed: 1, from: ['alice'] }, ...request },
});

/** What a page gets, and what it asked of the engine. */
function contextOf(has) {
  const asked = [];
  const note = (name) => async (...all) => { asked.push([name, ...all]); };
  const engine = Object.assign(new EventTarget(), {
    status: 'ready', self: { name: 'phone', fingerprint: 'SHA256:abc', server: 'https://push.example.com', createdAt: 1, persisted: true }, connection: { state: 'live' }, push: { state: 'on' },
    machines: [], items: [], alarms: [], news: [], history: async () => [],
    decide: note('decide'), dismissAlarm: note('dismissAlarm'), startOver: note('startOver'), ...has,
  });
  return { asked, engine, settledAt: () => -Infinity, refresh() {}, go: (hash) => asked.push(['go', hash]), fail: assert.fail, note: assert.fail };
}

test('a request that cannot be shown can be denied, and stands in no other one’s way', (t) => {
  const log = t.mock.method(console, 'error', () => {});
  const bad = item('m/bad', {}, { issued_at: NaN });
  for (const conflicts of [[], [{ key: 'm/bad', differs: ['from'] }]]) {
    const context = contextOf({ items: [item('m/good', { conflicts }), bad, item('m/over', { phase: 'closed', outcome: 'approved', endedAt: Infinity })] });
    const page = inboxPage(context).view();
    const cards = all(page, 'card');
    assert.deepEqual(cards.map((card) => card.getAttribute('data-request')), ['m/good', 'm/bad', 'm/over']);
    const [good, blank, over] = cards;
    assert.deepEqual(['approve', 'deny', 'report'].map((id) => all(good, id).length), [1, 1, 1]);
    assert.equal(all(blank, 'unshown')[0].textContent, en['unshown.request']);
    assert.deepEqual(['approve', 'deny', 'report'].map((id) => all(blank, id).length), [0, 1, 0]);
    assert.deepEqual([over.textContent, all(over, 'deny').length], [en['unshown.row'], 0]);
    all(blank, 'deny')[0].click();
    assert.deepEqual(context.asked, [['decide', 'm/bad', 'deny', {}]]);
  }
  assert.ok(log.mock.callCount() >= 4);
});

test('an approval can be taken back on its card, a test ring and a denial cannot', () => {
  const buttons = (change, request) => {
    const context = contextOf({ items: [item('m/a', { answer: 'approve', delivered: true, ...change }, request)] });
    const page = inboxPage(context).view();
    for (const id of ['approve', 'deny', 'report']) for (const button of all(page, id)) button.click();
    return [context.asked.map(([, , answer]) => answer), all(page, 'code').map((code) => code.textContent), all(page, 'delivery')[0].getAttribute('data-delivered')];
  };
  assert.deepEqual(buttons({ phase: 'decided', code: '123456' }), [['deny', 'report'], ['123456'], 'true']);
  assert.deepEqual(buttons({ phase: 'decided' }, { confirm: 'tap' }), [['deny', 'report'], [], 'true']);
  assert.deepEqual(buttons({ phase: 'signing', answer: 'deny', code: '123456' }), [[], [], 'false'], 'while that is signed');
  assert.deepEqual(buttons({ phase: 'decided', answer: 'deny' }), [[], [], 'true']);
  assert.deepEqual(buttons({ phase: 'decided' }, { kind: 'test' }), [[], [], 'true']);
});

test('how it ended says when a denial came too late', () => {
  assert.equal(outcomeText('approved', 'approve'), en['outcome.approved']);
  assert.equal(outcomeText('approved'), en['outcome.approved.elsewhere']);
  assert.equal(outcomeText('approved', 'approve', 'test'), en['answer.rang'], 'nobody was let in');
  for (const answer of ['deny', 'report']) assert.equal(outcomeText('approved', answer), en['outcome.approved.too-late']);
});

test('requests whose conflict cannot be shown are shown one by one', (t) => {
  t.mock.method(console, 'error', () => {});
  const [a, b] = [item('m/a', { conflicts: [{ key: 'm/b', differs: [] }] }), item('m/b', {}, { user: undefined })];
  const page = inboxPage(contextOf({ items: [a, b] })).view();
  assert.equal(all(page, 'conflict').length, 0);
  assert.deepEqual(all(page, 'card').map((card) => all(card, 'approve').length), [1, 0]);
});

test('a row that cannot be shown leaves the others', async (t) => {
  t.mock.method(console, 'error', () => {});
  const peer = (id, change = {}) => ({ id, name: id, self: false, pairedAt: 1, lastUsedAt: 1, ...change });
  const devices = { alice: { peers: [peer('a', { lastUsedAt: Infinity }), peer('b')], more: 0, heardAt: 1 }, bob: { peers: [], more: 0, heardAt: NaN } };
  const context = contextOf({ machines: [machine({ pairedAt: NaN }), machine({ id: 'n', users: ['alice', 'bob'], devices })] });
  const machines = machinesPage(context).view();
  assert.deepEqual([all(machines, 'machine').length, all(machines, 'device').length, all(machines, 'unshown').length], [1, 1, 3]);
  const others = devicesPage(context).view();
  assert.deepEqual([all(others, 'other-device').length, all(others, 'unshown').length], [1, 1]);

  const entry = (key, at) => ({ key, machine: 'db-1', request: item('x').request, outcome: 'approved', at });
  const history = historyPage(contextOf({ history: async () => [entry('a', 1), entry('b', NaN)] }));
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual([all(history.view(), 'entry').length, all(history.view(), 'unshown').length], [1, 1]);

  const alarms = contextOf({ alarms: [{ id: 'x', at: 1, reason: 'of-a-later-version', times: 1 }, { id: 'y', at: 1, reason: 'damaged', times: 1 }] });
  const inbox = inboxPage(alarms).view();
  assert.deepEqual([all(inbox, 'alarm').length, all(inbox, 'unshown').length], [1, 1]);
  all(inbox, 'unshown')[0].childNodes[1].childNodes[0].click();
  assert.deepEqual(alarms.asked, [['dismissAlarm', 'x']]);
});

test('starting over with lost keys is confirmed first when something of them is left', async () => {
  const start = (context) => all(lostPage(context).view(), 'start-over')[0].click();
  const over = [['startOver'], ['go', '#/']];
  const nothing = contextOf({ status: 'lost' });
  start(nothing);
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(nothing.asked, over);
  const left = contextOf({ status: 'lost', machines: [machine()] });
  for (const [button, asked] of [['dialog-no', []], ['dialog-yes', over]]) {
    start(left);
    assert.deepEqual(left.asked, []);
    all(document.body, button)[0].click();
    await new Promise((resolve) => setTimeout(resolve));
    assert.deepEqual([left.asked, all(document.body, 'dialog')], [asked, []]);
  }
});

test('a page that cannot be shown says so', (t) => {
  t.mock.method(console, 'error', () => {});
  const page = whole({ title: () => '', view: () => { throw new Error('no'); } });
  assert.equal(all(page, 'unshown')[0].textContent, en['unshown.page']);
});

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
  const meeting = (key, ...others) => /** @type {any} */ ({ key, conflicts: others.map((other) => ({ key: other, differs: [] })) });
  const found = groups([meeting('a', 'c'), meeting('b'), meeting('c', 'a', 'd'), meeting('d')]);
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
