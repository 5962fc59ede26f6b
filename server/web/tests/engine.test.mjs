import { memoryDatabase } from './setup.mjs';
import assert from 'node:assert/strict';
import test from 'node:test';
import { openEngine } from '../js/engine/engine.js';
import { verifyCard } from '../js/core/card.js';
import { generateSealKey } from '../js/core/hpke.js';
import { SigningKey } from '../js/core/keys.js';
import { phoneCode, readChallenge } from '../js/core/phone_code.js';
import * as bytes from '../js/core/bytes.js';
import { makeClock } from '../js/engine/clock.js';
import { Database } from '../js/engine/db.js';
import { Store } from '../js/engine/store.js';
import { Host, ORIGIN, Server } from './host.mjs';

const fault = (code) => (error) => error.code === code;

/** Waits until something holds. */
async function until(holds, what) {
  for (let i = 0; i < 3000; i++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`never: ${what}`);
}

async function openAt(t, server, database) {
  const engine = await openEngine({ server: ORIGIN, fetch: server.fetch, indexedDB: database });
  t.after(() => engine.stop());
  return engine;
}

/** An engine that is paired with a host and listens. */
async function paired(t, name = 'db-1') {
  const [server, host, database] = [new Server(), await Host.make(name), memoryDatabase()];
  const engine = await openAt(t, server, database);
  await pair(engine, server, host);
  engine.start();
  await until(() => engine.connection.state === 'live', 'live');
  return { server, host, database, engine };
}

async function pair(engine, server, host, user = 'alice') {
  const pairing = await host.pair(server, user);
  const session = await engine.pair(pairing.link);
  const ended = session.start({ name: 'phone', notify: false });
  await until(() => pairing.box.m1.length > 0, 'm1');
  const code = await host.reveal(pairing);
  await until(() => session.step === 'code', 'code');
  assert.equal(session.code, code);
  assert.deepEqual([session.host.name, session.host.id, session.user], [host.name, host.id, user]);
  await host.receipt(pairing);
  await ended;
  assert.deepEqual([session.step, session.fault], ['done', undefined]);
  return session;
}

async function arrive(server, engine, sent) {
  server.push(sent);
  const key = () => engine.items.find((item) => item.digest === sent.digest)?.key;
  await until(key, 'the request');
  return key();
}

const itemOf = (engine, key) => engine.items.find((item) => item.key === key);

test('a browser becomes a device by pairing, and stays it', async (t) => {
  const { engine, server, host, database } = await paired(t);
  assert.equal(engine.status, 'ready');
  assert.deepEqual([engine.self.name, engine.self.algorithm, engine.self.server], ['phone', 'ssh-ed25519', ORIGIN]);
  assert.deepEqual(engine.machines.map((m) => [m.id, m.name, m.users]), [[host.id, 'db-1', ['alice']]]);
  assert.equal(server.devices.length, 1);
  const again = await openAt(t, server, database);
  assert.deepEqual([again.status, again.self.id, again.machines.length], ['ready', engine.self.id, 1]);
  await pair(engine, server, host, 'root');
  assert.deepEqual(engine.machines.map((m) => m.users), [['alice', 'root']]);
  assert.equal(host.card.card.serial, 1, 'the same card');
});

test('a ticket may be typed', async (t) => {
  const [server, host] = [new Server(), await Host.make()];
  const engine = await openAt(t, server, memoryDatabase());
  const pairing = await host.pair(server);
  const letters = '0123456789abcdefghjkmnpqrstvwxyz';
  let number = BigInt(`0x${bytes.hex(pairing.t)}`) << 2n;
  let typed = '';
  for (let i = 0; i < 26; i++, number >>= 5n) typed = letters[Number(number & 31n)] + typed;
  const session = await engine.pair(typed.toUpperCase());
  const ended = session.start({ name: 'phone', notify: false });
  await until(() => pairing.box.m1.length > 0, 'm1');
  await host.reveal(pairing);
  await host.receipt(pairing);
  await ended;
  assert.equal(session.step, 'done');
});

test('pairing fails where it must, and says why', async (t) => {
  const [server, host, other] = [new Server(), await Host.make(), await Host.make('db-2')];
  const engine = await openAt(t, server, memoryDatabase());
  await assert.rejects(engine.pair('https://other.example/pair#1.h4e3okQlKL_t8BrTmZ51_w.2HS8bJpYBy7bDfWIQN304coFKT0s6CVPABFLYq-IX5E'), fault('other-server'));
  await assert.rejects(engine.pair('nonsense'), fault('bad-link'));

  const run = async (play) => {
    const pairing = await host.pair(server);
    const session = await engine.pair(pairing.link);
    const ended = session.start({ name: 'phone', notify: false });
    await until(() => pairing.box.m1.length > 0, 'm1');
    await play(pairing, session);
    await ended;
    assert.equal(session.step, 'failed');
    return session.fault;
  };
  assert.equal(await run(({ box }) => box.m2.push('AAAA')), 'reveal');
  assert.equal(await run((p) => host.reveal(p, { n: bytes.base64(bytes.random(32)) })), 'contradiction');
  assert.equal(await run((p) => host.reveal(p, { host: { name: 'db-2', key: other.key.publicKey.line } })), 'contradiction');
  for (const change of [{ user: 'root' }, { card: 'a'.repeat(64) }, { host: { name: 'x', key: host.key.publicKey.line } }]) {
    const why = await run(async (p) => {
      await host.reveal(p);
      await host.receipt(p, change);
    });
    assert.equal(why, 'receipt', JSON.stringify(change));
  }
  assert.equal(await run((p) => { p.box.gone = true; }), 'mailbox-closed');
  assert.equal(await run((_, session) => session.cancel()), 'cancelled');
  assert.deepEqual(engine.machines, [], 'nothing was pinned');
  assert.ok(server.unlinked.length >= 7, 'and the server is told');
});

test('another machine under a known name is said', async (t) => {
  const { engine, server, host } = await paired(t);
  const twin = await Host.make('db-1');
  const session = await pair(engine, server, twin);
  assert.deepEqual(session.sameName, { id: host.id, fingerprint: host.key.publicKey.fingerprint });
});

test('a request is shown, approved with a code, and closed', async (t) => {
  const { engine, server, host } = await paired(t);
  const arrived = [];
  engine.addEventListener('arrived', ({ detail }) => arrived.push(detail.key));
  const sent = await host.request({ lease_max: 3600, terminal: 'pts/1' });
  const key = await arrive(server, engine, sent);
  assert.equal(key, `${host.id}/${sent.message.id}`);
  assert.deepEqual(arrived, [key]);
  const item = itemOf(engine, key);
  assert.deepEqual([item.phase, item.request.command, item.machine.name, item.conflicts], ['open', 'sudo ls', 'db-1', []]);
  const left = item.endsAt - performance.timeOrigin - performance.now();
  assert.ok(left > 57_000 && left <= 60_000, String(left));

  const after = await engine.decide(key, 'approve', { lease: 7200 });
  assert.deepEqual([after.phase, after.answer], ['decided', 'approve']);
  assert.match(after.code, /^[0-9]{6}$/);
  await until(() => itemOf(engine, key).delivered, 'delivered');
  const decision = await host.read(server.decisions[0]);
  assert.deepEqual(
    [decision.request, decision.decision, decision.code, decision.counter],
    [sent.digest, 'approve', after.code, 1],
  );
  assert.ok(decision.lease.until <= host.seconds + 3600 && decision.lease.until > host.seconds + 3590);
  await assert.rejects(engine.decide(key, 'approve'), fault('expired'));

  server.push(await host.closed(sent));
  await until(() => itemOf(engine, key).phase === 'closed', 'closed');
  assert.deepEqual([itemOf(engine, key).outcome, itemOf(engine, key).code], ['approved', undefined]);
  const history = await engine.history();
  assert.deepEqual(history.map((h) => [h.key, h.answer, h.outcome, h.machine]), [[key, 'approve', 'approved', 'db-1']]);
  server.push(sent);
  server.drop();
  await until(() => server.isListening, 'listening again');
  assert.equal(engine.items.length, 1, 'what is closed does not come back');
  await engine.clearHistory();
  assert.deepEqual(await engine.history(), []);
});

test('a request that came late makes its lease no shorter', async (t) => {
  const { engine, server, host } = await paired(t);
  const key = await arrive(server, engine, await host.request({ lease_max: 3600, issued_at: host.seconds - 45 }));
  assert.equal(itemOf(engine, key).clockApart, undefined);
  await engine.decide(key, 'approve', { lease: 3600 });
  await until(() => itemOf(engine, key).delivered, 'delivered');
  const { lease } = await host.read(server.decisions[0]);
  assert.ok(lease.until <= host.seconds + 3600 && lease.until > host.seconds + 3590);
});

test('an approval can be taken back until its request is closed', async (t) => {
  const { engine, server, host } = await paired(t);
  for (const answer of ['deny', 'report']) {
    const sent = await host.request({ lease_max: 3600 });
    const key = await arrive(server, engine, sent);
    server.decisions.length = 0;
    await engine.decide(key, 'approve', { lease: 3600 });
    await until(() => itemOf(engine, key).delivered, 'delivered');
    const after = await engine.decide(key, answer);
    assert.deepEqual([after.phase, after.answer, after.code, after.leaseUntil], ['decided', answer, undefined, undefined]);
    await until(() => itemOf(engine, key).delivered, 'delivered, too');
    for (const again of ['approve', 'deny', 'report']) await assert.rejects(engine.decide(key, again), fault('expired'));
    server.drop();
    await until(() => server.decisions.length > 2, 'sent again');
    const [first, second, third] = await Promise.all(server.decisions.map((sealed) => host.read(sealed)));
    assert.deepEqual([first.decision, second.decision, second.code, second.lease], ['approve', answer, undefined, undefined]);
    assert.ok(second.counter > first.counter);
    assert.deepEqual(third, second, 'what was taken back is not sent again');
    server.push(await host.closed(sent, 'denied'));
    await until(() => itemOf(engine, key).phase === 'closed', 'closed');
  }
  const history = await engine.history();
  assert.deepEqual(history.map((h) => [h.answer, h.outcome]), [['report', 'denied'], ['deny', 'denied']]);
  const ring = await arrive(server, engine, await host.request({ kind: 'test', confirm: 'tap' }));
  await engine.decide(ring, 'approve');
  await assert.rejects(engine.decide(ring, 'deny'), fault('expired'));
});

test('a tap has no code, a denial neither; the counter rises', async (t) => {
  const { engine, server, host } = await paired(t);
  const tap = await arrive(server, engine, await host.request({ confirm: 'tap' }));
  const code = await arrive(server, engine, await host.request());
  assert.equal((await engine.decide(tap, 'approve')).code, undefined);
  assert.equal((await engine.decide(code, 'report')).code, undefined);
  await until(() => server.decisions.length === 2, 'both');
  const read = await Promise.all(server.decisions.map((sealed) => host.read(sealed)));
  assert.deepEqual(read.map((d) => d.counter).sort(), [1, 2]);
  assert.deepEqual(read.map((d) => d.code), [undefined, undefined]);
});

test('two tabs share everything, and one answer counts', async (t) => {
  const { engine, server, host, database } = await paired(t);
  const tab = await openAt(t, server, database);
  const key = await arrive(server, engine, await host.request());
  await until(() => itemOf(tab, key), 'the other tab');
  const both = await Promise.allSettled([engine.decide(key, 'approve'), tab.decide(key, 'deny')]);
  assert.equal(both.filter((r) => r.status === 'fulfilled').length, 1);
  await until(() => itemOf(tab, key).phase === 'decided' && itemOf(engine, key).phase === 'decided', 'decided in both');
  assert.equal(itemOf(tab, key).answer, itemOf(engine, key).answer);
});

test('an answer goes again until the host has closed the request, over a restart, too', async (t) => {
  const { engine, server, host, database } = await paired(t);
  const sent = await host.request();
  const key = await arrive(server, engine, sent);
  server.broken.set('POST /v1/decisions', 'network');
  await engine.decide(key, 'approve');
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(itemOf(engine, key).delivered, false);
  engine.stop();
  server.broken.clear();
  const again = await openAt(t, server, database);
  again.start();
  await until(() => server.decisions.length > 0, 'sent after the restart');
  assert.equal((await host.read(server.decisions[0])).request, sent.digest);
  await until(() => itemOf(again, key).delivered, 'delivered');
  const before = server.decisions.length;
  server.drop();
  await until(() => server.decisions.length > before, 'sent again to a server that may have forgotten it');
});

test('messages that are not genuine are shown to nobody', async (t) => {
  const { engine, server, host } = await paired(t);
  const [stranger, other] = [await Host.make('evil'), await SigningKey.generate()];
  stranger.card = host.card;
  const reasons = () => engine.alarms.map((alarm) => alarm.reason);
  const expect = async (reason, sent) => {
    server.push(sent);
    await until(() => reasons().includes(reason), reason);
    for (const { id } of engine.alarms) await engine.dismissAlarm(id);
    await until(() => reasons().length === 0, 'dismissed');
  };
  await expect('unknown-host', await stranger.request());
  await expect('bad-signature', await host.request({}, { key: other }));
  await expect('bad-signature', await host.request({}, { namespace: 'closed' }));
  await expect('wrong-host', await host.request({ host: { name: 'x', key: other.publicKey.line } }));
  await expect('wrong-envelope', await host.request({}, { envelope: { id: 'f'.repeat(32) } }));
  await expect('wrong-envelope', await host.request({}, { envelope: { to: other.publicKey.id } }));
  await expect('damaged', await host.request({ expires_in: 601 }));
  await expect('damaged', await host.request({}, { card: { ...host.card, hash: new Uint8Array(32) } }));
  await expect('damaged', { sealed: { envelope: '{}', sealed: 'AAAA' } });
  assert.deepEqual(engine.items, []);

  const good = await host.request();
  const key = await arrive(server, engine, good);
  await expect('two-requests', await host.request({ id: good.message.id, command: 'rm' }));
  await expect('other-request-closed', await host.closed({ ...good, digest: 'a'.repeat(64) }));
  assert.deepEqual([itemOf(engine, key).phase, itemOf(engine, key).request.command], ['open', 'sudo ls']);
  for (let i = 0; i < 16; i++) server.push(await host.request());
  await until(() => reasons().includes('too-many'), 'too many');
  assert.equal(engine.items.length, 16);
});

test('an end that comes before its request, and a request that comes after its end', async (t) => {
  const { engine, server, host } = await paired(t);
  const early = await host.request();
  server.push(await host.closed(early, 'withdrawn'));
  server.push(early);
  const late = await host.request({ issued_at: host.seconds - 100 });
  server.push(late);
  await arrive(server, engine, await host.request());
  assert.equal(engine.items.length, 1);
  const history = await engine.history();
  assert.deepEqual(history.map((h) => [h.key.split('/')[1], h.outcome]), [[late.message.id, 'over']]);
  assert.ok(history[0].late >= 40 && history[0].late < 60, String(history[0].late));
});

test('what nobody ended is over, without the host’s word', async (t) => {
  const { engine, server, host } = await paired(t);
  const key = await arrive(server, engine, await host.request({ expires_in: 2 }));
  await until(() => itemOf(engine, key).phase === 'closed', 'over');
  assert.equal(itemOf(engine, key).outcome, 'over');
});

test('a machine tells of devices; one is removed with a signed word', async (t) => {
  const { engine, server, host } = await paired(t);
  const me = { id: engine.self.id, name: 'phone', paired_at: 1_700_000_000 };
  const tablet = { id: bytes.base64url(bytes.random(32)), name: 'tablet', paired_at: 1_700_000_001, last_used_at: 1_700_000_009 };
  const told = await host.notice([me, tablet], { event: { what: 'paired', device: tablet.id, name: 'tablet' } });
  server.push(told);
  await until(() => engine.news.length === 1, 'news');
  assert.deepEqual([engine.news[0].what, engine.news[0].device, engine.news[0].user], ['paired', 'tablet', 'alice']);
  const peers = () => engine.machines[0].devices.alice.peers;
  assert.deepEqual(peers().map((p) => [p.name, p.self, p.lastUsedAt]), [['phone', true, undefined], ['tablet', false, 1_700_000_009_000]]);
  await engine.dismissNews(engine.news[0].id);
  server.drop();
  await until(() => engine.connection.state === 'live' && engine.news.length === 0, 'the same notice is no news again');
  server.push(await host.notice([me], { issued_at: host.seconds - 1000 }));

  await engine.removeDevice(host.id, 'alice', tablet.id);
  await until(() => server.decisions.length > 0, 'the removal');
  const removal = await host.read(server.decisions[0]);
  assert.deepEqual([removal.notice, removal.device, removal.counter], [told.digest, tablet.id, 1]);
  assert.deepEqual(peers().map((p) => p.removing), [undefined, true], 'an old notice changes nothing');
  const newer = await host.notice([me, tablet], { issued_at: host.seconds + 1 });
  server.push(newer);
  const answersNewer = async (sealed) => (await host.read(sealed).catch(() => ({}))).notice === newer.digest;
  await until(async () => (await Promise.all(server.decisions.map(answersNewer))).includes(true), 'the removal answers the newer notice');
  server.push(await host.notice([me], { issued_at: host.seconds + 2, event: { what: 'removed', device: tablet.id, name: 'tablet' } }));
  await until(() => peers().length === 1, 'gone');
  await assert.rejects(engine.removeDevice(host.id, 'alice', tablet.id), fault('not-linked'));
});

test('a new name makes a new card; what was sealed to the old one still opens', async (t) => {
  const { engine, server, host } = await paired(t);
  await engine.rename('  tablet ');
  assert.equal(engine.self.name, 'tablet');
  assert.equal(JSON.parse(server.cards[0].card).serial, 2);
  for (let n = 0; n < 6; n++) await engine.rename(`tablet ${n}`);
  await arrive(server, engine, await host.request());
});

/** What a terminal shows, and how the host makes its code of it. */
async function terminal(host, hash = host.key.publicKey.hash) {
  const [reply, now] = [await generateSealKey(), new Uint8Array(4)];
  new DataView(now.buffer).setUint32(0, Math.floor(Date.now() / 1000));
  const texts = ['sshd', 'alice', '::1'].map(bytes.utf8).map((text) => bytes.concat(Uint8Array.of(text.length), text));
  const shown = bytes.concat(Uint8Array.of(1), hash.slice(0, 16), reply.publicKey, now, Uint8Array.of(120), ...texts);
  const code = (card = host.card) => phoneCode(reply.secret, card.hash, hash, { ...readChallenge(shown), replyKey: card.seal });
  return { shown, code };
}

test('a phone code is made of the card that the machine knows', async (t) => {
  const { engine, server, host } = await paired(t);
  const { shown, code } = await terminal(host);
  const says = async () => engine.phoneCode(await engine.readChallenge(shown));
  const before = host.card;
  assert.equal(await says(), await code());
  for (const name of ['a', 'b', 'c', 'd', 'e']) await engine.rename(name);
  assert.equal(await says(), await code(), 'the machine has not heard of the new name');
  host.card = await verifyCard(server.cards.at(-1));
  await arrive(server, engine, await host.request());
  assert.equal(await says(), await code(), 'now it has');
  assert.notEqual(await says(), await code(before));
  await arrive(server, engine, await host.request({}, { card: await verifyCard(server.cards.at(-2)) }));
  assert.equal(await says(), await code(), 'that was an old message');
  await pair(engine, server, host, 'root');
  assert.equal(await says(), await code());
});

test('a machine is forgotten: the server is told, its messages are passed over', async (t) => {
  const { engine, server, host } = await paired(t);
  await arrive(server, engine, await host.request());
  await engine.forgetMachine(host.id);
  assert.deepEqual([engine.machines, engine.items], [[], []]);
  assert.deepEqual(server.unlinked, [`/v1/hosts/${host.id}`]);
  const again = await Host.make('db-2');
  await pair(engine, server, again);
  server.push(await host.request());
  await arrive(server, engine, await again.request());
  assert.deepEqual(engine.alarms, []);
});

test('everything is forgotten', async (t) => {
  const { engine, server, database } = await paired(t);
  const before = engine.self.id;
  await engine.forgetEverything();
  assert.deepEqual([engine.status, engine.self, engine.machines], ['new', undefined, []]);
  await pair(engine, server, await Host.make());
  assert.notEqual(engine.self.id, before);
  assert.equal((await openAt(t, server, database)).status, 'ready');
});

test('a request that comes before its host is pinned waits for that', async (t) => {
  const [server, host] = [new Server(), await Host.make()];
  const engine = await openAt(t, server, memoryDatabase());
  const pairing = await host.pair(server);
  const session = await engine.pair(pairing.link);
  const ended = session.start({ name: 'phone', notify: false });
  await until(() => pairing.box.m1.length > 0 && server.isListening, 'listening');
  await host.reveal(pairing);
  server.push(await host.request({ kind: 'test', confirm: 'tap' }));
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual([engine.items, engine.alarms], [[], []]);
  await host.receipt(pairing);
  await ended;
  await until(() => engine.items.length === 1, 'the test ring');
});

/** A promise, and what fulfils it. */
function latch() {
  let open;
  const opened = new Promise((resolve) => { open = resolve; });
  return { open, opened };
}

/**
 * The test ring comes while its host is being pinned: the engine's reading of it stands still after its step `point`
 * until the host is pinned, and the engine was told so only if `isTold`.
 * @returns whether reading it takes that many steps
 */
async function ringWhilePinned(t, point, isTold) {
  const [server, host] = [new Server(), await Host.make()];
  const engine = await openAt(t, server, memoryDatabase());
  const [run, pin] = [Database.prototype.run, Store.prototype.pin];
  const [read, goOn, pinned, tell] = [latch(), latch(), latch(), latch()];
  let [steps, wanted, isReached, lastAt] = [0, Infinity, false, 0];
  const steady = async () => until(() => performance.now() - lastAt > 40, 'quiet');
  const runs = t.mock.method(Database.prototype, 'run', async function (...all) {
    lastAt = performance.now();
    const step = steps++;
    const result = await run.apply(this, all);
    if (step !== wanted) return result;
    isReached = true;
    read.open();
    await goOn.opened;
    return result;
  });
  const pins = t.mock.method(Store.prototype, 'pin', async function (...all) {
    await pin.apply(this, all);
    pinned.open();
    await tell.opened;
  });
  try {
    const pairing = await host.pair(server);
    const session = await engine.pair(pairing.link);
    const ended = session.start({ name: 'phone', notify: false });
    await until(() => pairing.box.m1.length > 0 && server.isListening, 'listening');
    await host.reveal(pairing);
    await until(() => session.step === 'code', 'code');
    await steady();
    wanted = steps + point;
    server.push(await host.request({ kind: 'test', confirm: 'tap' }));
    lastAt = performance.now();
    await Promise.race([read.opened, steady()]);
    // What comes from here on is not the reading.
    wanted = Infinity;
    await host.receipt(pairing);
    await pinned.opened;
    if (isTold) tell.open();
    await steady();
    goOn.open();
    await steady();
    tell.open();
    await ended;
    await until(() => engine.items.length > 0 || engine.alarms.length > 0, `the test ring that was read up to step ${point}`);
    assert.deepEqual([engine.items.map((item) => item.request.kind), engine.alarms], [['test'], []], `after step ${point}`);
    return isReached;
  } finally {
    runs.mock.restore();
    pins.mock.restore();
    engine.stop();
  }
}

for (const [when, isTold] of [['before', false], ['after', true]]) {
  test(`a test ring that is read while its host is pinned is neither lost nor an alarm, ${when} the app knows`, async (t) => {
    let point = 0;
    while (await ringWhilePinned(t, point, isTold)) point += 1;
    assert.ok(point >= 2, `only ${point} points were tried`);
  });
}

test('a test ring that another tab hears is there once its host is pinned', async (t) => {
  // Only one tab of a browser listens.
  let held = Promise.resolve();
  const locks = { request: (_, { signal }, hold) => { held = held.then(() => !signal.aborted && hold()); return held; } };
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  Object.defineProperty(globalThis, 'navigator', { value: { locks }, configurable: true });
  t.after(() => (before ? Object.defineProperty(globalThis, 'navigator', before) : delete globalThis.navigator));
  const { server, database } = await paired(t);
  const [tab, host] = [await openAt(t, server, database), await Host.make('db-2')];
  const pairing = await host.pair(server);
  const session = await tab.pair(pairing.link);
  const ended = session.start({ name: 'phone', notify: false });
  await until(() => pairing.box.m1.length > 0, 'm1');
  await host.reveal(pairing);
  await until(() => session.step === 'code', 'code');
  server.push(await host.request({ kind: 'test', confirm: 'tap' }));
  await new Promise((resolve) => setTimeout(resolve, 100));
  await host.receipt(pairing);
  await ended;
  await until(() => tab.items.length === 1, 'the test ring');
  assert.deepEqual(tab.alarms, []);
});

test('phone codes are for paired machines', async (t) => {
  const { engine, host } = await paired(t);
  const make = async (hash) => (await terminal(host, hash)).shown;
  const challenge = await engine.readChallenge(await make());
  assert.deepEqual([challenge.machine.id, challenge.service, challenge.address, challenge.expired], [host.id, 'sshd', '::1', false]);
  assert.match(await engine.phoneCode(challenge), /^[0-9]{8}$/);
  await assert.rejects(engine.readChallenge(await make(new Uint8Array(32))), fault('unknown-host'));
  await assert.rejects(engine.readChallenge(new Uint8Array(5)), fault('not-a-challenge'));
  await assert.rejects(engine.phoneCode({ ...challenge }), fault('not-a-challenge'));
  await engine.forgetMachine(host.id);
  await assert.rejects(engine.phoneCode(challenge), fault('unknown-host'));
});

test('browsers that cannot be approvers say why', async () => {
  const none = await openEngine({ server: ORIGIN });
  assert.deepEqual([none.status, none.connection.reason], ['unsupported', 'browser']);
  await assert.rejects(none.pair('x'), fault('browser'));
  globalThis.isSecureContext = false;
  const insecure = await openEngine({ server: ORIGIN, indexedDB: memoryDatabase() });
  delete globalThis.isSecureContext;
  assert.deepEqual([insecure.status, insecure.connection.reason], ['unsupported', 'insecure']);
});

test('a database whose connection was taken away is opened again', async (t) => {
  const database = memoryDatabase();
  const opened = [];
  const watched = { open: (...all) => {
    const request = database.open(...all);
    request.addEventListener('success', () => opened.push(request.result));
    return request;
  } };
  const server = new Server();
  const engine = await openAt(t, server, watched);
  await pair(engine, server, await Host.make());
  for (const db of opened) db.close();
  await engine.rename('later');
  assert.deepEqual([engine.self.name, opened.length], ['later', 2]);
});

test('keys that cannot be read, or of which only machines are left, are lost', async (t) => {
  for (const spoil of [
    (store, other) => store.changeDevice({ line: other.publicKey.line }),
    (store) => store.setMeta('device', undefined),
  ]) {
    const { engine, server, host, database } = await paired(t);
    await arrive(server, engine, await host.request());
    await spoil(new Store(await Database.open(database), makeClock(), () => {}), await SigningKey.generate());
    const again = await openAt(t, server, database);
    assert.deepEqual([again.status, again.self, again.machines.map(({ id }) => id), again.items], ['lost', undefined, [host.id], []]);
    await again.startOver();
    assert.deepEqual([again.status, again.machines], ['new', []]);
  }
});

test('keys that a browser has cleared are missed', async (t) => {
  const kept = new Map();
  globalThis.localStorage = { getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => kept.set(k, v), removeItem: (k) => kept.delete(k) };
  t.after(() => delete globalThis.localStorage);
  const { server } = await paired(t);
  const engine = await openAt(t, server, memoryDatabase());
  assert.equal(engine.status, 'lost');
  await assert.rejects(engine.pair('x'), fault('keys'));
  // What another tab finds when it is told that the keys are gone.
  const marks = [];
  t.mock.method(BroadcastChannel.prototype, 'postMessage', () => marks.push(kept.size));
  await engine.startOver();
  assert.equal(engine.status, 'new');
  assert.ok(marks.length > 0 && marks.every((size) => size === 0), `${marks}`);
});

test('a request with a list is approved only once that is here and as signed', async (t) => {
  const { engine, server, host } = await paired(t);
  const id = 'ab'.repeat(16);
  const { list, sealed } = await host.list('install hello\nremove \u{202e}x\n', id);
  const asked = await host.request({ id, list, kind: 'action', action: 'apt.install', confirm: 'tap' });
  const key = await arrive(server, engine, asked);
  const state = () => itemOf(engine, key).listed.state;
  await until(() => state() === 'missing', 'it is missing');
  await assert.rejects(engine.decide(key, 'approve'), fault('unexpected'));
  assert.equal(itemOf(engine, key).phase, 'open');
  server.lists.set(key, bytes.concat(sealed.subarray(0, 99), new Uint8Array(1), sealed.subarray(100)));
  await until(() => state() === 'wrong', 'it was changed');
  await assert.rejects(engine.decide(key, 'approve'), fault('unexpected'));
  server.lists.set(key, sealed);
  await until(() => state() === 'there', 'it is here');
  assert.equal(itemOf(engine, key).listed.text, 'install hello\nremove \u{202e}x\n');
  const asks = server.listsAsked;
  await engine.decide(key, 'approve');
  await until(() => server.decisions.length > 0, 'the answer');
  assert.equal((await host.read(server.decisions[0])).decision, 'approve');
  assert.equal(itemOf(engine, key).listed.state, 'there', 'it is shown as long as the request is');
  assert.equal(server.listsAsked, asks);
});

test('a request whose list does not come is denied at once, and the list is not asked for any more', async (t) => {
  const { engine, server, host } = await paired(t);
  const id = 'cd'.repeat(16);
  const { list } = await host.list('install hello\n', id);
  const asked = await host.request({ id, list, kind: 'action', action: 'apt.install' });
  const key = await arrive(server, engine, asked);
  await until(() => itemOf(engine, key).listed?.state === 'missing', 'it is missing');
  await engine.decide(key, 'deny');
  await until(() => server.decisions.length > 0, 'the answer');
  assert.equal((await host.read(server.decisions[0])).decision, 'deny');
  await until(() => itemOf(engine, key).phase === 'decided', 'it is decided');
  assert.equal(itemOf(engine, key).listed, undefined, 'it is let go of');
});
