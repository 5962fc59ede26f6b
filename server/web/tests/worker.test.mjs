import { createHash } from 'node:crypto';
import { memoryDatabase } from './setup.mjs';
import assert from 'node:assert/strict';
import test from 'node:test';
import { concat, fromBase64, utf8 } from '../js/core/bytes.js';
import { verifyCard } from '../js/core/card.js';
import { SigningKey } from '../js/core/keys.js';
import { u16 } from '../js/core/wire.js';
import { makeClock } from '../js/engine/clock.js';
import { Database } from '../js/engine/db.js';
import { createDevice } from '../js/engine/device.js';
import { Store } from '../js/engine/store.js';
import { Relay } from '../js/relay/relay.js';
import de from '../js/text/notify.de.js';
import en from '../js/text/notify.en.js';
import { deny } from '../js/worker/deny.js';
import { serve, update } from '../js/worker/files.js';
import { ring, unpack } from '../js/worker/ring.js';
import { Host, ORIGIN, Server } from './host.mjs';

/** What the server puts into a push. */
const pushOf = ({ sealed: { envelope, sealed } }) =>
  concat(Uint8Array.of(1), u16(utf8(envelope).length), utf8(envelope), fromBase64(sealed)).buffer;

async function worker() {
  const store = new Store(await Database.open(memoryDatabase()), makeClock(), () => {});
  await store.keepDevice(await createDevice('phone', Date.now(), false));
  const device = await store.device();
  const host = await Host.make('db-1');
  host.card = await verifyCard(device.card);
  const pin = () => store.pin({ id: host.id, name: host.name, line: host.key.publicKey.line, fingerprint: 'SHA256:x', card: device.cardHashes[0] }, 'alice');
  await store.setMeta('language', 'en');
  return { store, host, device, pin };
}

async function pinnedWorker() {
  const all = await worker();
  await all.pin();
  return all;
}

test('a push is the envelope and the sealed bytes', async () => {
  const { host } = await worker();
  const sent = await host.request();
  const data = pushOf(sent);
  assert.deepEqual(unpack(data), sent.sealed);
  assert.ok(data.byteLength < 4096 - 103, 'fits a push');
  for (const bad of [data.slice(1), data.slice(0, -1), concat(new Uint8Array(data), new Uint8Array(1)).buffer, new ArrayBuffer(0)]) {
    assert.throws(() => unpack(bad));
  }
});

test('a request is shown with what it is, and can be denied at once', async () => {
  const { store, host } = await pinnedWorker();
  const sent = await host.request({ remote: { address: '192.0.2.7', source: 'kernel' }, requester: 'bob' });
  const shown = await ring(store, pushOf(sent));
  const key = `${host.id}/${sent.message.id}`;
  assert.equal(shown.title, 'bob runs a command on db-1 as alice');
  assert.equal(shown.options.body, 'By sudo, for alice.\nFrom 192.0.2.7.');
  assert.deepEqual([shown.options.tag, shown.options.data], [key, { key }]);
  assert.deepEqual(shown.options.actions.map((a) => a.action), ['open', 'deny']);
  assert.equal((await store.item(key)).phase, 'open');
  assert.equal((await ring(store, pushOf(sent))).title, shown.title, 'the same again is shown again');
});

test('what a host says cannot play tricks with the notification', async () => {
  const { store, host } = await pinnedWorker();
  const shown = await ring(store, pushOf(await host.request({ user: 'a\u202eb\nc', kind: 'login' })));
  assert.equal(shown.title, 'a\\u{202e}b\\u{a}c wants to log in to db-1');
});

test('a test ring cannot be denied', async () => {
  const { store, host } = await pinnedWorker();
  const sent = await host.request({ kind: 'test', confirm: 'tap' });
  const shown = await ring(store, pushOf(sent));
  assert.deepEqual([shown.title, shown.options.actions.map((a) => a.action)], ['db-1 rings this device', ['open']]);
  const ended = await ring(store, pushOf(await host.closed(sent)));
  assert.deepEqual([ended.title, ended.closeAfter !== undefined], [en.rang, true]);
});

test('an end replaces its request, and goes away unless it matters', async () => {
  const { store, host, device } = await pinnedWorker();
  for (const [outcome, answer, goesAway] of [
    ['approved', undefined, true],
    ['otherwise', undefined, true],
    ['replaced', undefined, true],
    ['denied', 'deny', true],
    ['denied', undefined, false],
    ['reported', undefined, false],
    ['expired', undefined, false],
    ['failed', 'approve', false],
  ]) {
    const sent = await host.request();
    await ring(store, pushOf(sent));
    const key = `${host.id}/${sent.message.id}`;
    if (answer) await store.decide(key, answer, device);
    const shown = await ring(store, pushOf(await host.closed(sent, outcome)));
    assert.deepEqual([shown.title, shown.options.tag, shown.options.silent], [en.ended[outcome], key, true]);
    assert.equal(shown.closeAfter !== undefined, goesAway, `${outcome} ${answer}`);
    assert.equal((await ring(store, pushOf(sent))).title, en.ended[outcome], 'the request after its end');
  }
});

test('an end without its request, a late request, news and alarms', async () => {
  const { store, host, device } = await pinnedWorker();
  const never = await host.request();
  assert.equal((await ring(store, pushOf(await host.closed(never, 'expired')))).title, en.ended.expired);
  assert.equal((await ring(store, pushOf(await host.request({ issued_at: host.seconds - 100 })))).title, en.late);
  const other = await SigningKey.generate();
  const event = { what: 'paired', device: other.publicKey.id, name: 'tab\u0000let' };
  const devices = [{ id: device.id, name: 'phone', paired_at: 1 }, { id: other.publicKey.id, name: 'tablet', paired_at: 2 }];
  const news = await ring(store, pushOf(await host.notice(devices, { event })));
  assert.deepEqual([news.title, news.options.body], [en.news.paired, '“tab\\u{0}let” for alice on db-1. If that was not you, open the app.']);
  const forged = await ring(store, pushOf(await host.request({}, { key: other })));
  assert.deepEqual([forged.title, forged.options.requireInteraction], [en.alarm, true]);
  assert.match(forged.options.body, /db-1/);
});

test('something is always shown', async () => {
  const { store } = await pinnedWorker();
  for (const data of [undefined, new ArrayBuffer(0), new Uint8Array(3000).fill(1).buffer]) {
    assert.equal((await ring(store, data)).title, en.neutral);
  }
  const none = new Store(await Database.open(memoryDatabase()), makeClock(), () => {});
  assert.ok((await ring(none, undefined)).title);
  const unopened = await ring(undefined, new Uint8Array(3000).fill(1).buffer);
  assert.ok([en.neutral, de.neutral].includes(unopened.title), 'without a database');
});

test('a host that is being paired gets its moment to be pinned', async () => {
  const { store, host, pin } = await worker();
  await store.setMeta('pairing', { host: host.id, until: Date.now() + 60_000 });
  const sent = await host.request({ kind: 'test', confirm: 'tap' });
  const [shown] = await Promise.all([ring(store, pushOf(sent)), new Promise((r) => setTimeout(r, 600)).then(pin)]);
  assert.equal(shown.title, 'db-1 rings this device');
  const again = await worker();
  await again.store.setMeta('pairing', { host: again.host.id, until: Date.now() + 60_000 });
  assert.equal((await ring(again.store, pushOf(await again.host.request()))).title, en.pairing);
  assert.equal((await again.store.snapshot()).alarms.length, 0);
});

test('denying signs and sends, again if it must, and only what is open', async () => {
  const { store, host } = await pinnedWorker();
  const [server, sent] = [new Server(), await host.request()];
  await ring(store, pushOf(sent));
  const key = `${host.id}/${sent.message.id}`;
  const relay = new Relay(ORIGIN, { fetch: server.fetch });
  server.broken.set('*', 'network');
  const denied = deny(store, async () => relay, key);
  setTimeout(() => server.broken.clear(), 100);
  assert.equal(await denied, 'denied');
  const decision = await host.read(server.decisions[0]);
  assert.deepEqual([decision.decision, decision.request, decision.code], ['deny', sent.digest, undefined]);
  assert.equal((await store.item(key)).delivered, true);
  assert.equal(await deny(store, async () => relay, `${host.id}/${'0'.repeat(32)}`), 'tooLate');
});

test('denying says whether the answer is kept when it could not be sent', async (t) => {
  t.mock.method(console, 'error', () => {});
  const { store, host } = await pinnedWorker();
  const sent = await host.request();
  await ring(store, pushOf(sent));
  const key = `${host.id}/${sent.message.id}`;
  const unopened = async () => {
    throw new Error('the database is gone');
  };
  const decide = t.mock.method(store, 'decide', unopened);
  assert.equal(await deny(store, unopened, key), 'failed');
  assert.equal((await store.item(key)).phase, 'open', 'the app can still deny it');
  decide.mock.restore();
  assert.equal(await deny(store, unopened, key), 'notDenied');
  assert.deepEqual([(await store.item(key)).answer, (await store.item(key)).delivered ?? false], ['deny', false], 'the app sends it');
  const none = new Store(await Database.open(memoryDatabase()), makeClock(), () => {});
  assert.equal(await deny(none, unopened, key), 'failed', 'without a device');
});

/** A server's files and a browser's caches and locks. */
function browser(t) {
  const all = new Map();
  const served = { version: 'one', files: ['/', '/a.js'], later: [], busy: false };
  const nameOf = (request) => new URL(request.url ?? request, ORIGIN).pathname;
  const content = (name) => `${served.version} ${name}`;
  const hashOf = (name) => createHash('sha256').update(content(name)).digest('hex').slice(0, 16);
  const hashes = (names) => Object.fromEntries(names.map((name) => [name, hashOf(name)]));
  const list = () => ({ version: served.version, files: hashes(served.files), later: hashes(served.later) });
  const asked = [];
  const http = new Map();
  const get = async (path, { cache }) => {
    if (path === '/app-files.json') return Response.json(list());
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (cache === 'only-if-cached' && !http.has(path)) throw new TypeError('not cached');
    if (cache === 'no-cache' || !http.has(path)) {
      asked.push(path);
      http.set(path, served.lies ?? content(path));
    }
    return new Response(http.get(path));
  };
  const cache = (kept) => ({
    match: async (request) => kept.get(nameOf(request))?.clone(),
    put: async (request, response) => kept.set(nameOf(request), response),
    delete: async (request) => kept.delete(nameOf(request)),
  });
  let last = Promise.resolve();
  let held = 0;
  const request = (name, options, work = options) => {
    if (options.ifAvailable && held > 0) return Promise.resolve(work(null));
    held++;
    const done = last.then(() => work({ name })).finally(() => held--);
    last = done.catch(() => {});
    return done;
  };
  const stubs = {
    caches: {
      open: async (name) => {
        if (!all.has(name)) all.set(name, new Map());
        return cache(all.get(name));
      },
      delete: async (name) => all.delete(name),
      keys: async () => [...all.keys()],
    },
    fetch: get,
    navigator: { locks: { request } },
  };
  for (const [name, value] of Object.entries(stubs)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
  }
  const asking = (path) => serve({ url: ORIGIN + path, mode: path === '/' ? 'navigate' : 'cors' }, async () => served.busy);
  const ask = async (path) => (await asking(path)).text();
  const open = () => ask('/');
  const cached = (version) => all.get(`countersign-app-${version}`);
  const waiting = () => all.get('countersign-versions')?.has('/next');
  return { served, ask, asking, open, cached, waiting, http, asked };
}

test('two workers that update at once leave a whole version', async (t) => {
  const { served, open, cached, waiting } = browser(t);
  await Promise.all([update(), update()]);
  assert.deepEqual([[...cached('one').keys()], waiting()], [['/a.js', '/app-files.json', '/'], false]);
  served.version = 'two';
  const updating = Promise.all([update(), update()]);
  assert.equal(await open(), 'one /', 'a navigation does not wait for the download');
  await updating;
  served.busy = true;
  assert.equal(await open(), 'one /');
  served.busy = false;
  assert.equal(await open(), 'two /');
  assert.equal(cached('one'), undefined);
});

test('a version whose files are gone is none, and one that was taken back does not wait', async (t) => {
  const { served, open, cached, waiting } = browser(t);
  await update();
  cached('one').clear();
  await update();
  assert.deepEqual([[...cached('one').keys()], waiting()], [['/a.js', '/app-files.json', '/'], false]);
  served.version = 'two';
  await update();
  assert.equal(waiting(), true);
  served.version = 'one';
  await update();
  assert.equal(waiting(), false);
  Object.assign(served, { version: 'three', files: ['/a.js'] });
  await assert.rejects(update(), /no list/);
  assert.deepEqual([await open(), waiting()], ['one /', false]);
});

test('what the page has loaded is not asked for again, unless it is of another version', async (t) => {
  const { served, open, http, asked, cached } = browser(t);
  http.set('/a.js', 'one /a.js');
  await update();
  assert.deepEqual(asked, ['/']);
  served.version = 'two';
  await update();
  assert.deepEqual(asked.slice(1).sort(), ['/', '/a.js'], 'the browser kept only the old ones');
  assert.equal(await (await cached('two').get('/a.js')).text(), 'two /a.js');
  Object.assign(served, { version: 'three', lies: 'two /a.js' });
  await assert.rejects(update(), /is not of version three/);
  assert.equal(cached('three'), undefined);
  assert.equal(await open(), 'two /');
});

test('what is not for everybody is kept once it was asked for', async (t) => {
  const { served, ask, asking, http, asked, cached } = browser(t);
  served.later = ['/de.js', '/fr.js'];
  http.set('/de.js', 'one /de.js');
  await update();
  assert.deepEqual([[...cached('one').keys()].sort(), asked], [['/', '/a.js', '/app-files.json', '/de.js'], ['/a.js', '/']], 'the page had loaded it');
  assert.equal(await ask('/fr.js'), 'one /fr.js');
  assert.equal(await ask('/fr.js'), 'one /fr.js');
  assert.deepEqual(asked.slice(2), ['/fr.js'], 'once');
  served.version = 'two';
  await update();
  assert.deepEqual([...cached('two').keys()].sort(), ['/', '/a.js', '/app-files.json', '/de.js', '/fr.js'], 'a new version has it, too');
  for (const name of ['/fr.js', '/a.js']) cached('one').delete(name);
  served.busy = true;
  for (const name of ['/fr.js', '/a.js']) assert.equal((await asking(name)).type, 'error', 'what the server has by now is of another version');
  assert.equal(cached('one').has('/fr.js'), false);
});

test('both languages have the same words', () => {
  const shape = (words) => Object.entries(words).map(([key, word]) => (typeof word === 'string' ? [key, (word.match(/\{\w+\}/g) ?? []).sort()] : [key, shape(word)]));
  assert.deepEqual(shape(de), shape(en));
});
