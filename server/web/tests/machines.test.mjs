import './setup.mjs';
import assert from 'node:assert/strict';
import test from 'node:test';
import * as machines from '../js/engine/machines.js';

const NOW = 1_800_000_000_000;
const machine = { id: 'm', name: 'db-1', line: 'l', fingerprint: 'f', users: ['constructor', '__proto__'], pairedAt: NOW, card: Uint8Array.of(1), notices: {} };
const tablet = { id: 'T', name: 'tablet', paired_at: 1 };
const notice = (user) => ({ version: 1, id: 'i', user, reply_key: 'r', devices: [tablet], issued_at: 1 });
const heard = (user, from = machine) => machines.heard(from, notice(user), `d ${user}`, { self: 'S', now: NOW }).machine;

test('a user may be called what every object has', () => {
  const silent = machines.machineView(machine, 'S', NOW);
  for (const user of machine.users) {
    assert.equal(silent.devices[user], undefined);
    assert.equal(machines.removing(machine, user, 'T', NOW), undefined);
    const told = heard(user);
    assert.equal(machines.machineView(told, 'S', NOW).devices[user].peers[0].name, 'tablet');
    assert.equal(machines.dueRemovals(machines.removing(told, user, 'T', NOW), NOW)[0].user, user);
  }
});

/** What a person is told by notices, one after the other: `WHAT NAME`. */
function told(...notices) {
  let known = machine;
  return notices.map(({ at, devices, event, more, digest = `${Math.random()}` }) => {
    const sent = { ...notice('alice'), devices, issued_at: at, ...(event && { event }), ...(more && { more }) };
    const result = machines.heard(known, sent, digest, { self: 'S', now: NOW });
    known = result?.machine ?? known;
    return result?.news.map(({ what, device }) => `${what} ${device}`);
  });
}
const device = (name, paired_at = 1) => ({ id: name.toUpperCase(), name, paired_at });
const paired = (name) => ({ what: 'paired', device: name.toUpperCase(), name });
const removed = (name) => ({ what: 'removed', device: name.toUpperCase(), name });
const [own, a, b] = [device('s', 4), device('a', 2), device('b', 3)];

test('a machine knows the newest card that it has sealed something to', () => {
  const [c1, c2, c3, other] = [1, 2, 3, 9].map((n) => Uint8Array.of(n));
  const known = (...used) => used.reduce((at, card) => machines.knowsCard(at, card, [c3, c2, c1]) ?? at, machine).card;
  assert.deepEqual([known(), known(c1), known(c2), known(c3, c1), known(c2, c3), known(other)], [c1, c1, c2, c3, c3, c1]);
  assert.equal(machines.knowsCard(machine, c1, [c3, c2, c1]), undefined, 'nothing to write');
  assert.deepEqual(machines.knowsCard(machine, c2, [c3, c2]).card, c2, 'its own card is not even kept any more');
});

test('what changed between two notices is told, whatever became of their events', () => {
  assert.deepEqual(told({ at: 5, devices: [own, a] }), [[]], 'the first list is no news');
  assert.deepEqual(told({ at: 5, devices: [own, a], event: paired('a') }), [['paired a']], 'its event is');
  assert.deepEqual(told({ at: 1, devices: [own] }, { at: 5, devices: [own, a, b] }), [[], ['paired a', 'paired b']]);
  assert.deepEqual(told({ at: 1, devices: [own, a] }, { at: 5, devices: [own, b], event: paired('b') }), [[], ['paired b', 'removed a']]);
  assert.deepEqual(told({ at: 1, devices: [own, a] }, { at: 5, devices: [own, device('a', 4)] }), [[], ['paired a']], 'paired anew');
  assert.deepEqual(told({ at: 1, devices: [own] }, { at: 2, devices: [own, { ...a, last_used_at: 9, name: 'A2' }] }, { at: 3, devices: [own, a] }), [[], ['paired A2'], []]);
  assert.deepEqual(told({ at: 1, devices: [own, a] }, { at: 2, devices: [a], event: removed('s') }, { at: 3, devices: [own, a] }), [[], [], []], 'about itself it knows');
  const news = machines.heard(heard('alice'), { ...notice('alice'), devices: [a, b], issued_at: 2 }, 'd', { self: 'S', now: NOW }).news;
  assert.deepEqual([news.length, new Set(news.map(({ id }) => id)).size], [3, 3]);
  const [{ machine: name, user, at }] = news;
  assert.deepEqual([name, user, at], ['db-1', 'alice', NOW]);
});

test('a first list tells what was paired after this device', () => {
  const thief = device('thief', 5);
  assert.deepEqual(told({ at: 6, devices: [a, own, thief] }), [['paired thief']]);
  assert.deepEqual(told({ at: 6, devices: [own, thief], event: removed('a') }), [['paired thief', 'removed a']]);
  assert.deepEqual(told({ at: 6, devices: [own, thief], event: paired('thief') }), [['paired thief']], 'once');
});

test('a clock that was wrong once does not silence a machine', () => {
  const far = NOW / 1000 + 24 * 3600 + 1;
  assert.deepEqual(told({ at: 5, devices: [own] }, { at: far, devices: [own, a] }, { at: 6, devices: [own, a] }), [[], undefined, ['paired a']]);
  const kept = heard('alice');
  kept.notices.alice.issuedAt = far;
  assert.ok(machines.heard(kept, { ...notice('alice'), issued_at: 7 }, 'd', { self: 'S', now: NOW }), 'kept by an earlier version');
});

test('nothing is told twice', () => {
  const event = paired('a');
  assert.deepEqual(told({ at: 1, devices: [own] }, { at: 2, devices: [own, a], event }, { at: 2, devices: [own, a] }, { at: 3, devices: [own, a], event }), [[], ['paired a'], [], []]);
  const gone = { at: 3, devices: [own], event: removed('a') };
  assert.deepEqual(told({ at: 1, devices: [own, a] }, { at: 2, devices: [own] }, gone), [[], ['removed a'], []], 'an event that comes later');
  const back = { at: 4, devices: [own, device('a', 4)] };
  assert.deepEqual(told({ at: 1, devices: [own, a] }, gone, back, { ...gone, at: 5 }), [[], ['removed a'], ['paired a'], ['removed a']]);
});

test('a notice that comes again after another of its second, or is older, changes nothing', () => {
  const [first, second] = [{ at: 2, devices: [own, a], digest: '1' }, { at: 2, devices: [own, a, b], digest: '2' }];
  assert.deepEqual(told(first, second, first, second, { ...first, at: 1, digest: '3' }), [[], ['paired b'], undefined, undefined, undefined]);
});

test('a device that found no room in the list is neither removed nor new', () => {
  assert.deepEqual(told({ at: 5, devices: [own, a] }, { at: 6, devices: [own], more: 1 }, { at: 7, devices: [own, a] }), [[], [], []]);
  assert.deepEqual(told({ at: 5, devices: [own], more: 1 }, { at: 6, devices: [own, b, device('c', 5)] }), [[], ['paired c']]);
});

test('a removal that was tried for a day is given up', () => {
  const removing = machines.removing(heard('alice'), 'alice', 'T', NOW);
  const [last, over] = [NOW + 86_399_999, NOW + 86_400_000];
  assert.deepEqual([machines.isRemoving(removing, last), machines.tick(removing, last)], [true, undefined]);
  assert.equal(machines.isRemoving(removing, over), false);
  assert.deepEqual(machines.tick(removing, over), heard('alice'));
});
