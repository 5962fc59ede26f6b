import './setup.mjs';
import assert from 'node:assert/strict';
import test from 'node:test';
import * as machines from '../js/engine/machines.js';

const NOW = 1_800_000_000_000;
const machine = { id: 'm', name: 'db-1', line: 'l', fingerprint: 'f', users: ['constructor', '__proto__'], pairedAt: NOW, notices: {} };
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

test('a removal that was tried for a day is given up', () => {
  const removing = machines.removing(heard('alice'), 'alice', 'T', NOW);
  const [last, over] = [NOW + 86_399_999, NOW + 86_400_000];
  assert.deepEqual([machines.isRemoving(removing, last), machines.tick(removing, last)], [true, undefined]);
  assert.equal(machines.isRemoving(removing, over), false);
  assert.deepEqual(machines.tick(removing, over), heard('alice'));
});
