// Web Push of this browser: the permission, the subscription, and what the server knows of it.

import { base64url, fromBase64url } from '../core/bytes.js';
import { Fault } from '../core/fault.js';

/** @typedef {import('./types.js').PushState} PushState */
/** @typedef {import('./store.js').Store} Store */
/** @typedef {import('../relay/relay.js').Relay} Relay */

/** How long the service worker may take to be ready. */
const READY_MS = 10_000;

/** What browsers have, and what they allow. */
function ability() {
  const { navigator, Notification } = globalThis;
  if (Notification && navigator?.serviceWorker && 'PushManager' in globalThis) {
    return Notification.permission === 'denied' ? 'denied' : 'able';
  }
  // On iOS only an app on the home screen has push at all.
  const isApple = /iPhone|iPad|iPod/.test(navigator?.userAgent ?? '');
  const isInstalled = Reflect.get(navigator ?? {}, 'standalone') === true;
  return isApple && !isInstalled ? 'install' : 'unsupported';
}

/**
 * Asks the person: to be called in a tap, before anything is waited for.
 * @returns {Promise<void>} throws a Fault
 */
export async function askPermission() {
  const able = ability();
  if (able === 'install') throw new Fault('install-first');
  if (able === 'unsupported') throw new Fault('push', 'unsupported');
  if ((await Notification.requestPermission()) !== 'granted') throw new Fault('notify-denied');
}

/**
 * Subscribes, and tells the server. The permission is there.
 * @param {Store} store
 * @param {Relay} relay
 * @param {ServiceWorkerRegistration} [worker]
 */
export async function subscribe(store, relay, worker) {
  const { vapid } = await relay.app();
  const { pushManager } = worker ?? (await ready());
  const subscription = await subscriptionFor(pushManager, vapid);
  const { endpoint, keys } = subscription.toJSON();
  const { p256dh, auth } = keys ?? {};
  if (!endpoint || !p256dh || !auth) throw new Fault('push', 'a subscription without keys');
  await relay.putPush({ endpoint, p256dh, auth });
  await store.setMeta('push', { endpoint, vapid });
}

/**
 * @param {PushManager} manager
 * @param {string} vapid
 */
async function subscriptionFor(manager, vapid) {
  try {
    const known = await manager.getSubscription();
    const key = known?.options.applicationServerKey;
    if (known && key && base64url(new Uint8Array(key)) === vapid) return known;
    // Made for another key of the server: worth nothing any more.
    await known?.unsubscribe();
    return await manager.subscribe({ userVisibleOnly: true, applicationServerKey: fromBase64url(vapid) });
  } catch (error) {
    throw new Fault('push', String(error));
  }
}

/** @returns {Promise<ServiceWorkerRegistration>} */
async function ready() {
  /** @type {Promise<never>} */
  const late = new Promise((_, reject) => setTimeout(() => reject(new Fault('push', 'no service worker')), READY_MS));
  return Promise.race([navigator.serviceWorker.ready, late]);
}

/**
 * Ends the subscription. The server's part is done even if the browser's is not there any more.
 * @param {Store} store
 * @param {Relay} relay
 */
export async function unsubscribe(store, relay) {
  await store.setMeta('push', undefined);
  const registration = await globalThis.navigator?.serviceWorker?.getRegistration?.();
  const subscription = await registration?.pushManager?.getSubscription();
  await subscription?.unsubscribe();
  await relay.deletePush();
}

/**
 * @param {Store} store
 * @returns {Promise<PushState>}
 */
export async function state(store) {
  const able = ability();
  if (able !== 'able') return { state: able };
  const isOn = Notification.permission === 'granted' && (await store.meta('push')) !== undefined;
  return { state: isOn ? 'on' : 'off' };
}

/**
 * Keeps the browser's and the server's part in step, where the person has turned it on.
 * @param {Store} store
 * @param {Relay} relay
 */
export async function renew(store, relay) {
  if ((await state(store)).state !== 'on') return;
  // Each time: a server that was told that the address is gone has forgotten it, and the same again costs it nothing.
  await subscribe(store, relay);
}

/** Takes away the notification of a request that was answered in the app. @param {string} key */
export async function hide(key) {
  const registration = await globalThis.navigator?.serviceWorker?.getRegistration?.();
  for (const notification of (await registration?.getNotifications?.({ tag: key })) ?? []) notification.close();
}
