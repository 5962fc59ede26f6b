import './setup.mjs';
import assert from 'node:assert/strict';
import test from 'node:test';
import { conflicts } from '../js/engine/conflicts.js';
import * as inbox from '../js/engine/inbox.js';
import { rememberClosed } from '../js/engine/tables.js';

const NOW = 1_800_000_000_000;
const S = NOW / 1000;
const none = { known: undefined, isClosed: false, openOfHost: 0 };

const arrival = (change = {}) => ({
  key: 'm/1', machine: 'm', machineName: 'db-1', digest: 'd',
  request: { user: 'alice', service: 'sudo', kind: 'command', issued_at: S, expires_in: 60, approvals: { needed: 1, from: ['alice'] }, ...change },
});
const open = (change) => inbox.arrive(arrival(change), none, NOW).record;
const decided = (now = NOW) => inbox.signed(inbox.answered(open(), 'approve', 1, now), 1, { sealed: { envelope: 'e', sealed: 's' }, code: '123456' }, now);

test('a request lives by its host’s clock, but not longer than it says', () => {
  assert.equal(open().endsAt, NOW + 60_000);
  assert.equal(open().clockApart, undefined);
  assert.deepEqual([open({ issued_at: S - 50 }).endsAt, open({ issued_at: S - 50 }).clockApart], [NOW + 10_000, undefined], 'it may just have come late');
  assert.deepEqual([open({ issued_at: S + 300 }).endsAt, open({ issued_at: S + 300 }).clockApart], [NOW + 60_000, 300]);
  assert.deepEqual(inbox.arrive(arrival({ issued_at: S - 61 }), none, NOW), { late: 1 });
  assert.deepEqual(inbox.arrive(arrival({ issued_at: S - 60 }), none, NOW), { late: 0 });
  assert.ok(open({ issued_at: S + 86_400 }));
  assert.deepEqual(inbox.arrive(arrival({ issued_at: S + 86_401 }), none, NOW), { alarm: 'damaged' });
});

test('the same again is no news, another one of the same id is an alarm', () => {
  const known = open();
  assert.equal(inbox.arrive(arrival(), { ...none, known }, NOW), undefined);
  assert.deepEqual(inbox.arrive({ ...arrival(), digest: 'x' }, { ...none, known }, NOW), { alarm: 'two-requests' });
  assert.equal(inbox.arrive(arrival(), { ...none, isClosed: true }, NOW), undefined);
  assert.deepEqual(inbox.arrive(arrival(), { ...none, openOfHost: inbox.MAX_OPEN_PER_HOST }, NOW), { alarm: 'too-many' });
});

test('only the host’s word about exactly this request ends it', () => {
  const known = decided();
  assert.deepEqual(inbox.close({ key: 'm/1', digest: 'x', outcome: 'denied' }, known, NOW), { alarm: 'other-request-closed' });
  const { ended, rememberUntil } = inbox.close({ key: 'm/1', digest: 'd', outcome: 'approved' }, known, NOW + 1000);
  assert.deepEqual([ended.phase, ended.outcome, ended.answer, ended.endedAt], ['closed', 'approved', 'approve', NOW + 1000]);
  assert.deepEqual([ended.code, ended.sealed], [undefined, undefined], 'neither is kept');
  assert.equal(rememberUntil, NOW + 60_000 + inbox.REMEMBER_MS);
  assert.equal(inbox.close({ key: 'm/1', digest: 'd', outcome: 'denied' }, ended, NOW).ended, undefined, 'the first word stands');
  const unknown = inbox.close({ key: 'm/1', digest: 'd', outcome: 'approved' }, undefined, NOW);
  assert.deepEqual(unknown, { rememberUntil: NOW + 600_000 + inbox.REMEMBER_MS });
});

test('an answer is given once, in time, and again only when it could not be signed', () => {
  const signing = inbox.answered(open(), 'deny', 1, NOW);
  assert.equal(signing.phase, 'signing');
  for (const record of [signing, decided(), inbox.signed(signing, 1, {}, NOW), undefined]) {
    assert.throws(() => inbox.answered(record, 'approve', 2, NOW), (e) => e.code === 'expired');
  }
  assert.throws(() => inbox.answered(open(), 'approve', 2, NOW + 60_000), (e) => e.code === 'expired');
  assert.deepEqual(inbox.notSigned(signing, 1), open());
  assert.deepEqual(inbox.tick(signing, NOW + 10_000), open(), 'the page that signed is gone');
  assert.equal(inbox.signed(open(), undefined, {}, NOW), undefined);
});

test('an approval that could not be taken back stands', () => {
  const approved = inbox.signed(inbox.answered(open(), 'approve', 1, NOW), 1, { sealed: { envelope: 'e', sealed: 's' }, code: '123456', leaseUntil: 1 }, NOW);
  const signing = inbox.answered(approved, 'deny', 2, NOW);
  assert.deepEqual([signing.phase, inbox.isDue(signing, NOW + 5000)], ['signing', false], 'nor is it sent meanwhile');
  for (const record of [inbox.notSigned(signing, 2), inbox.tick(signing, NOW + 10_000)]) {
    assert.deepEqual([record.phase, record.answer, record.code, record.leaseUntil, record.sealed.sealed], ['decided', 'approve', '123456', 1, 's']);
    assert.equal(inbox.isDue(record, NOW + 10_000), true);
  }
  const denied = inbox.signed(signing, 2, { sealed: { envelope: 'e', sealed: 'no' } }, NOW);
  assert.deepEqual([denied.answer, denied.code, denied.leaseUntil, denied.delivered, denied.sealed.sealed], ['deny', undefined, undefined, false, 'no']);
  assert.throws(() => inbox.answered(approved, 'deny', 2, NOW + 60_000), (e) => e.code === 'expired');
});

test('a page that was suspended while it signed does not undo a later answer', () => {
  const stale = inbox.answered(open(), 'approve', 1, NOW);
  const later = inbox.answered(inbox.tick(stale, NOW + 10_000), 'deny', 2, NOW + 11_000);
  assert.equal(inbox.signed(later, stale.attempt, { code: '123456' }, NOW + 12_000), undefined);
  assert.equal(inbox.notSigned(later, stale.attempt), undefined);
  assert.equal(inbox.signed(later, later.attempt, {}, NOW + 12_000).answer, 'deny');
});

test('a decision goes again, less and less often, until its request has ended', () => {
  let record = decided();
  const times = [];
  for (let now = NOW; now < NOW + 70_000; now += 500) {
    if (!inbox.isDue(record, now)) continue;
    times.push((now - NOW) / 1000);
    record = inbox.sentAgain(record, now);
  }
  assert.deepEqual(times, [1, 3, 7, 15, 30, 45]);
});

test('what nobody ended is over some seconds after its time, and a late word corrects that', () => {
  assert.equal(inbox.tick(open(), NOW + 62_999), 'unchanged');
  const over = inbox.tick(open(), NOW + 63_000);
  assert.deepEqual([over.phase, over.outcome, over.endedAt], ['closed', 'over', NOW + 60_000]);
  assert.equal(inbox.close({ key: 'm/1', digest: 'd', outcome: 'expired' }, over, NOW + 64_000).ended.outcome, 'expired');
  assert.equal(inbox.tick(over, NOW + 659_999), 'unchanged');
  assert.equal(inbox.tick(over, NOW + 660_000), 'forget');
});

test('open requests of one user at a time say in what they differ', () => {
  const record = (key, change = {}, phase = 'open') => ({ ...inbox.arrive({ ...arrival(change), key }, none, NOW).record, phase });
  const [a, b] = [record('m/1', { command: 'ls', remote: { address: '::1', source: 'pam' } }), record('m/2', { command: 'rm', service: 'su' })];
  assert.deepEqual(conflicts(a, [a, b]), [{ key: 'm/2', differs: ['service', 'command', 'from'] }]);
  assert.deepEqual(conflicts(a, [a, record('m/3', a.request)]), [{ key: 'm/3', differs: [] }]);
  const bob = { user: 'bob', approvals: { needed: 1, from: ['bob'] } };
  assert.deepEqual(conflicts(a, [a, record('m/2', bob), record('m/3', {}, 'closed'), record('m/4', { kind: 'test' })]), []);
});

test('what is answered, but not over, is still a rival of what comes then', () => {
  const record = (key, change = {}, phase = 'open') => ({ ...inbox.arrive({ ...arrival(change), key }, none, NOW).record, phase });
  const fresh = record('m/2');
  for (const phase of ['signing', 'decided']) {
    const answered = record('m/1', {}, phase);
    assert.deepEqual(conflicts(fresh, [answered, fresh]), [{ key: 'm/1', differs: [] }]);
    assert.deepEqual(conflicts(answered, [answered, fresh]), [], 'there is nothing to be decided about it');
    assert.deepEqual(conflicts(record('m/3', { kind: 'test' }), [answered, fresh]), []);
  }
});

test('requests for different users that ask one person are rivals', () => {
  const own = { ...open(), key: 'm/1' };
  const su = { ...open({ user: 'root', service: 'su', approvals: { needed: 1, from: ['bob', 'alice'] } }), key: 'm/2' };
  assert.deepEqual(conflicts(own, [own, su]), [{ key: 'm/2', differs: ['user', 'service'] }]);
  const others = { ...open({ user: 'root', approvals: { needed: 1, from: ['bob'] } }), key: 'm/3' };
  assert.deepEqual(conflicts(own, [own, others]), []);
});

test('each host has its own room for what has ended', async () => {
  const ended = (machine, endedAt) => ({ ...open(), machine, phase: 'closed', endedAt });
  const noisy = Array.from({ length: inbox.MAX_ENDED_PER_HOST + 2 }, (_, i) => ended('m', NOW + i));
  const all = [ended('quiet', NOW - 1), { ...open(), machine: 'm' }, ...noisy];
  assert.deepEqual([...inbox.tooMany(all)].map((record) => record.endedAt).sort(), [NOW, NOW + 1]);

  const rows = new Map();
  const closed = {
    all: async () => [...rows.values()],
    put: async (row) => rows.set(row.key, row),
    delete: async (key) => rows.delete(key),
  };
  await rememberClosed(closed, 'quiet/1', NOW - 1);
  for (let i = 0; i <= inbox.MAX_CLOSED_PER_HOST; i++) await rememberClosed(closed, `m/${i}`, NOW + i);
  assert.equal(rows.size, inbox.MAX_CLOSED_PER_HOST + 1);
  assert.deepEqual(['quiet/1', 'm/0', 'm/1', `m/${inbox.MAX_CLOSED_PER_HOST}`].map((key) => rows.has(key)), [true, false, true, true]);
});
