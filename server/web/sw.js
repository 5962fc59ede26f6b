// The service worker: the app without a network, and the phone that rings while the app is closed.

import { useEd25519 } from './js/core/keys.js';
import { makeClock } from './js/engine/clock.js';
import { Database } from './js/engine/db.js';
import { CHANNEL } from './js/engine/channel.js';
import { subscribe } from './js/engine/push.js';
import { Store } from './js/engine/store.js';
import { Relay } from './js/relay/relay.js';
import { deny } from './js/worker/deny.js';
import { isOurs, serve, update, updateSometimes } from './js/worker/files.js';
import { ring, words } from './js/worker/ring.js';
// A service worker may not import later, when it finds that it needs this.
import * as ed25519 from './vendor/noble-ed25519.js';

const worker = /** @type {import('./js/worker/types.d.ts').WorkerScope} */ (/** @type {unknown} */ (globalThis));

useEd25519(ed25519);

/** @returns {Promise<Store>} */
async function openStore() {
  const channel = new BroadcastChannel(CHANNEL);
  return new Store(await Database.open(indexedDB), makeClock(), () => channel.postMessage({ type: 'changed' }));
}

/** @type {Promise<Store>|undefined} */
let opened;

/** The worker is stopped and started as the browser likes: the database is opened when it is needed. */
function store() {
  opened ??= openStore().catch((error) => {
    opened = undefined;
    throw error;
  });
  return opened;
}

/** Where something has to be shown even if the database does not open. */
function storeIfAny() {
  return store().catch((error) => {
    console.error(error);
    return undefined;
  });
}

/** @param {Store} kept */
async function relay(kept) {
  return new Relay((await kept.meta('server')) ?? worker.location.origin, { key: (await kept.device())?.key });
}

/** Whether a request is open: then nothing changes under the person's hands. */
async function isBusy() {
  const now = Date.now();
  return (await (await store()).items()).some((item) => item.phase !== 'closed' && item.endsAt > now);
}

worker.addEventListener('install', (event) => {
  event.waitUntil(
    (async () => {
      // Without the files the app needs the network, and still rings.
      await update().catch(console.error);
      if (!(await isBusy().catch(() => false))) await worker.skipWaiting();
    })(),
  );
});

worker.addEventListener('activate', (event) => event.waitUntil(worker.clients.claim()));

worker.addEventListener('message', (event) => {
  if (event.data?.type === 'take-over') worker.skipWaiting();
});

worker.addEventListener('fetch', (event) => {
  if (!isOurs(event.request)) return;
  event.respondWith(serve(event.request, isBusy));
  if (event.request.mode === 'navigate') event.waitUntil(updateSometimes().catch(() => undefined));
});

worker.addEventListener('push', (event) => event.waitUntil(pushed(event.data?.arrayBuffer())));

/** @param {ArrayBuffer|undefined} data */
async function pushed(data) {
  const kept = await storeIfAny();
  const { title, options, closeAfter } = await ring(kept, data);
  await worker.registration.showNotification(title, options);
  await kept?.tick().catch(() => undefined);
  if (closeAfter === undefined || !options.tag) return;
  await new Promise((resolve) => setTimeout(resolve, closeAfter));
  // Something else may stand under the tag by now.
  const shown = await worker.registration.getNotifications({ tag: options.tag });
  for (const notification of shown) if (notification.title === title) notification.close();
}

worker.addEventListener('notificationclick', (event) => {
  const { action, notification } = event;
  const key = notification.data?.key;
  if (action === 'deny' && typeof key === 'string') {
    event.waitUntil(denied(key));
    return;
  }
  notification.close();
  event.waitUntil(openApp(typeof key === 'string' ? `/#/request/${key}` : '/'));
});

/** @param {string} key */
async function denied(key) {
  const kept = await storeIfAny();
  const text = await words(kept);
  const body = (await worker.registration.getNotifications({ tag: key }))[0]?.title ?? '';
  const options = { body, tag: key, data: { key }, silent: true };
  await worker.registration.showNotification(text.denying, options);
  const result = kept ? await deny(kept, () => relay(kept), key) : 'failed';
  const more = { notDenied: text.notDeniedBody, failed: text.failedBody, denied: body, tooLate: body }[result];
  await worker.registration.showNotification(text[result], { ...options, body: more });
}

/** @param {string} url */
async function openApp(url) {
  const windows = await worker.clients.matchAll({ type: 'window', includeUncontrolled: true });
  const client = windows.find(({ focused }) => focused) ?? windows[0];
  try {
    // The focus first: it needs the click, and the click does not last.
    const focused = await client?.focus();
    if (await focused?.navigate(url)) return;
  } catch {
    // A page that this worker may not steer.
  }
  await worker.clients.openWindow(url);
}

worker.addEventListener('pushsubscriptionchange', (event) => {
  event.waitUntil(
    (async () => {
      const kept = await store();
      if (await kept.meta('push')) await subscribe(kept, await relay(kept), worker.registration);
    })(),
  );
});
