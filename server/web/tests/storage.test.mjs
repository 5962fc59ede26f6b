// A browser that keeps nothing any more, for a while: what was paired and answered is not lost, and whoever does
// something that cannot be kept hears so.

import { memoryDatabase } from './setup.mjs';
import assert from 'node:assert/strict';
import test from 'node:test';
import { openEngine } from '../js/engine/engine.js';
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

/** What a browser does with a write that it has no room for, now or when it is to be on the disk. */
const WAYS = {
  full() {
    throw new DOMException('no room', 'QuotaExceededError');
  },
  aborted(transaction, put) {
    const request = put();
    request.addEventListener('success', () => {
      if (!transaction.isOver) transaction.abort();
      transaction.isOver = true;
    });
    return request;
  },
};

/** A browser's storage, whose writing can be broken by one of the WAYS. */
class Storage {
  #factory = memoryDatabase();
  way;

  open(name, version) {
    const request = this.#factory.open(name, version);
    request.addEventListener('success', () => {
      const { result } = request;
      const begin = result.transaction.bind(result);
      result.transaction = (names, mode) => {
        const transaction = begin(names, mode);
        const open = transaction.objectStore.bind(transaction);
        transaction.objectStore = (name) => {
          const store = open(name);
          const put = store.put.bind(store);
          store.put = (...what) => (this.way ? WAYS[this.way](transaction, () => put(...what)) : put(...what));
          return store;
        };
        return transaction;
      };
    });
    return request;
  }

  /** The same seen by the next version of the app, which has the same stores. */
  get next() {
    return {
      open: (name, version) => {
        const request = this.#factory.open(name, version + 1);
        return Object.defineProperty(request, 'onupgradeneeded', { set: () => undefined });
      },
    };
  }

  /** A tab that does not know of others. */
  old() {
    return new Promise((resolve, reject) => {
      const request = this.#factory.open('countersign', 1);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }
}

async function openAt(t, server, database) {
  const engine = await openEngine({ server: ORIGIN, fetch: server.fetch, indexedDB: database });
  t.after(() => engine.stop());
  return engine;
}

async function pair(engine, server, host, { before } = {}) {
  const pairing = await host.pair(server, 'alice');
  const session = await engine.pair(pairing.link);
  const ended = session.start({ name: 'phone', notify: false });
  await until(() => pairing.box.m1.length > 0, 'm1');
  await host.reveal(pairing);
  await until(() => session.step === 'code', 'code');
  before?.();
  await host.receipt(pairing);
  await ended;
  return session;
}

async function paired(t) {
  const [server, host, database] = [new Server(), await Host.make(), new Storage()];
  const engine = await openAt(t, server, database);
  assert.equal((await pair(engine, server, host)).step, 'done');
  engine.start();
  await until(() => engine.connection.state === 'live', 'live');
  return { server, host, database, engine };
}

async function arrive({ server, host, engine }) {
  const sent = await host.request();
  server.push(sent);
  const key = () => engine.items.find((item) => item.digest === sent.digest)?.key;
  await until(key, 'the request');
  return key();
}

const itemOf = (engine, key) => engine.items.find((item) => item.key === key);

for (const way of Object.keys(WAYS)) {
  test(`storage that is ${way}: no pairing is done that is not kept`, async (t) => {
    const [server, host, database] = [new Server(), await Host.make(), new Storage()];
    const engine = await openAt(t, server, database);
    const session = await pair(engine, server, host, { before: () => (database.way = way) });
    assert.deepEqual([session.step, session.fault], ['failed', 'storage']);
    assert.deepEqual(engine.machines, []);
    assert.ok(server.unlinked.some((path) => path.endsWith(host.id)), 'its messages are not wanted');
    database.way = undefined;
    assert.equal((await pair(engine, server, host)).step, 'done');
    assert.deepEqual((await openAt(t, server, database)).machines.map(({ id }) => id), [host.id]);
  });

  test(`storage that is ${way}: an answer that is not kept is none, and may be given again`, async (t) => {
    const all = await paired(t);
    const { engine, database, server } = all;
    const key = await arrive(all);
    database.way = way;
    await assert.rejects(engine.decide(key, 'deny'), fault('storage'));
    assert.equal(server.decisions.length, 0);
    database.way = undefined;
    assert.equal((await engine.decide(key, 'deny')).answer, 'deny');
    await until(() => server.decisions.length > 0, 'the answer goes out');
    assert.deepEqual((await openAt(t, server, database)).machines.length, 1);
  });

  test(`storage that is ${way}: an answer that was kept goes out all the same`, async (t) => {
    const all = await paired(t);
    const { engine, database, server } = all;
    const key = await arrive(all);
    server.broken.set('POST /v1/decisions', 503);
    assert.equal((await engine.decide(key, 'deny')).phase, 'decided');
    database.way = way;
    server.broken.clear();
    await until(() => server.decisions.length > 0, 'the answer goes out');
    // The same tab, and one that is opened afterwards, still know of it.
    assert.equal(itemOf(engine, key).answer, 'deny');
    database.way = undefined;
    const again = await openAt(t, server, database);
    assert.deepEqual([itemOf(again, key).phase, itemOf(again, key).answer], ['decided', 'deny']);
  });

  test(`storage that is ${way}: a request that cannot be kept is trouble that is shown, and comes again`, async (t) => {
    const { engine, database, server, host } = await paired(t);
    database.way = way;
    const sent = await host.request();
    server.push(sent);
    await until(() => engine.connection.state === 'offline', 'the trouble');
    assert.equal(engine.connection.reason, 'storage');
    assert.deepEqual(engine.items, []);
    database.way = undefined;
    await until(() => engine.items.some((item) => item.digest === sent.digest), 'the request');
    assert.equal(engine.connection.state, 'live');
  });
}

test('an old tab that holds the storage is named, and nothing is lost', async (t) => {
  const { server, host, database, engine } = await paired(t);
  const old = await database.old();
  const blocked = await openAt(t, server, database.next);
  assert.deepEqual([blocked.status, blocked.connection.reason], ['unsupported', 'storage']);
  await assert.rejects(blocked.pair('anything'), fault('storage'));
  old.close();
  // The tab that has made way cannot write any more, and says so.
  await assert.rejects(engine.forgetMachine(host.id), fault('storage'));
  // What was waiting for the old tab holds nothing open by itself: the next one gets through.
  const later = await openAt(t, server, database.next);
  assert.deepEqual([later.status, later.machines.map(({ id }) => id)], ['ready', [host.id]]);
});
