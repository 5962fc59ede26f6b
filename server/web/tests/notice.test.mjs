// Notices from the wire to what the person is told.

import { memoryDatabase } from './setup.mjs';
import assert from 'node:assert/strict';
import test from 'node:test';
import { base64url, concat, fromBase64, random, utf8 } from '../js/core/bytes.js';
import { verifyCard } from '../js/core/card.js';
import { u16 } from '../js/core/wire.js';
import { makeClock } from '../js/engine/clock.js';
import { Database } from '../js/engine/db.js';
import { createDevice } from '../js/engine/device.js';
import { Store } from '../js/engine/store.js';
import en from '../js/text/notify.en.js';
import { ring } from '../js/worker/ring.js';
import { Host } from './host.mjs';

const pushOf = ({ sealed: { envelope, sealed } }) => concat(Uint8Array.of(1), u16(utf8(envelope).length), utf8(envelope), fromBase64(sealed)).buffer;

test('a phone that missed the notices between two tells of all that has changed', async () => {
  const store = new Store(await Database.open(memoryDatabase()), makeClock(), () => {});
  await store.keepDevice(await createDevice('phone', Date.now(), false));
  await store.setMeta('language', 'en');
  const [own, host] = [await store.device(), await Host.make('db-1')];
  host.card = await verifyCard(own.card);
  await store.pin({ id: host.id, name: host.name, line: host.key.publicKey.line, fingerprint: 'SHA256:x', card: own.cardHashes[0] }, 'alice');
  const device = (name, paired_at) => ({ id: base64url(random(32)), name, paired_at });
  const [phone, old, tablet] = [{ id: own.id, name: 'phone', paired_at: 2 }, device('old', 1), device('tab\u0000let', 3)];
  const first = await ring(store, pushOf(await host.notice([phone, old], { issued_at: host.seconds - 9 })));
  assert.equal(first.title, en.neutral);
  const later = await host.notice([phone, tablet]);
  const shown = await ring(store, pushOf(later));
  assert.deepEqual([shown.title, shown.options.requireInteraction], [en.newsMany, true]);
  assert.deepEqual(shown.options.body.split('\n'), [
    'A device was added: “tab\\u{0}let” for alice on db-1', 'A device was removed: “old” for alice on db-1',
  ]);
  const { news } = await store.snapshot();
  assert.deepEqual(news.map(({ what, device: name }) => [what, name]).sort(), [['paired', 'tab\u0000let'], ['removed', 'old']]);
  assert.equal((await ring(store, pushOf(later))).title, en.newsMany, 'the page may have heard it first');
  for (const { id } of news) await store.dismiss('news', id);
  assert.equal((await ring(store, pushOf(later))).title, en.neutral);
  assert.equal((await ring(store, pushOf(await host.notice([phone, tablet], { issued_at: host.seconds + 1 })))).title, en.neutral);
  assert.deepEqual((await store.snapshot()).news, []);
});
