// The app's own files, kept so that it opens without a network. One cache a version: a version is complete or not
// there, and takes over at a navigation when no request is open.

import { hex } from '../core/bytes.js';

/** @typedef {Record<string, string>} Hashes by path the first bytes of a file's SHA-256, in hex */
/** @typedef {{version: string, files: Hashes, later: Hashes}} AppFiles `later` is kept once it is asked for */

/** What the server generates from its files. */
const LIST = '/app-files.json';
const PREFIX = 'countersign-app-';
/** Names of versions: the one that is served, and one that waits. */
const POINTERS = 'countersign-versions';
const [CURRENT, NEXT] = ['/current', '/next'];
const MAX_FILES = 500;
const HASH = /^(?:[0-9a-f]{2}){8,32}$/;
/** The list is asked for at most this often. */
const CHECK_MS = 60_000;
/** The page, and where pairing links lead; both have one file. */
const PAGE = '/';
const PAGES = [PAGE, '/pair'];

/** The old worker and the one that is being installed share the caches. */
const LOCK = 'countersign-files';

let checkedAt = -Infinity;

/** @param {string} name @returns {Promise<string|undefined>} */
async function pointer(name) {
  return (await (await caches.open(POINTERS)).match(name))?.text();
}

/**
 * @param {string} version
 * @returns {Promise<boolean>} whether its files are here; browsers drop caches, too
 */
async function isWhole(version) {
  return (await (await caches.open(PREFIX + version)).match(PAGE)) !== undefined;
}

/** @param {string} name @returns {Promise<string|undefined>} the version, if its files are here */
async function whole(name) {
  const version = await pointer(name);
  return version && (await isWhole(version)) ? version : undefined;
}

/** @param {string} name @param {string} version */
async function point(name, version) {
  await (await caches.open(POINTERS)).put(name, new Response(version));
}

/** @returns {Promise<AppFiles>} */
async function list() {
  const response = await fetch(LIST, { cache: 'no-store', credentials: 'same-origin' });
  return sound(response.ok ? await response.json() : {});
}

/** @param {any} list @returns {AppFiles} */
function sound({ version, files, later }) {
  const named = Object.entries({ ...files, ...later });
  const isSound =
    typeof version === 'string' &&
    /^[\w.+-]{1,128}$/.test(version) &&
    Object.hasOwn(files ?? {}, PAGE) &&
    named.length <= MAX_FILES &&
    named.every(([path, hash]) => /^\/(?!\/|v1\/)/.test(path) && typeof hash === 'string' && HASH.test(hash));
  if (!isSound) throw new TypeError('no list of files');
  return { version, files, later: later ?? {} };
}

/**
 * @param {string} path
 * @param {string} hash
 * @param {RequestCache} cache
 * @returns {Promise<Response|undefined>} the file, if it is the one that the list means
 */
async function file(path, hash, cache) {
  const response = await fetch(path, { cache, credentials: 'same-origin', mode: 'same-origin' });
  const content = await response.clone().arrayBuffer();
  const digest = hex(new Uint8Array(await crypto.subtle.digest('SHA-256', content)));
  return response.ok && digest.startsWith(hash) ? response : undefined;
}

/** Brings the newest version here, if it is another one. It is served at once only when there was none. */
export async function update() {
  checkedAt = performance.now();
  const { locks } = globalThis.navigator ?? {};
  await (locks ? locks.request(LOCK, updateAlone) : updateAlone());
}

async function updateAlone() {
  const all = await list();
  const { version, files, later } = all;
  const [current, next] = [await whole(CURRENT), await whole(NEXT)];
  if (version === current) {
    // What waited was taken back.
    await (await caches.open(POINTERS)).delete(NEXT);
    return;
  }
  if (version === next) return;
  await caches.delete(PREFIX + version);
  const cache = await caches.open(PREFIX + version);
  const keep = async (/** @type {[string, string]} */ [path, hash], /** @type {RequestCache} */ first = 'force-cache') => {
    // What the page has just loaded is not asked for again; a server that was replaced meanwhile has other files.
    const response = (await file(path, hash, first)) ?? (await file(path, hash, 'no-cache'));
    if (!response) throw new TypeError(`${path} is not of version ${version}`);
    await cache.put(path, response);
  };
  const { [PAGE]: page = '', ...rest } = files;
  try {
    await Promise.all([...Object.entries(rest), ...(await used(later, current))].map((entry) => keep(entry)));
    await cache.put(LIST, Response.json(all));
    // The last, because with it the version counts as whole; and with the headers of now, its policy among them.
    await keep([PAGE, page], 'no-cache');
  } catch (error) {
    await caches.delete(PREFIX + version);
    throw error;
  }
  await point(current ? NEXT : CURRENT, version);
}

/**
 * @param {Hashes} later
 * @param {string|undefined} current the version until now
 * @returns {Promise<[string, string][]>} what of it this browser uses: it was kept, or the page has loaded it
 */
async function used(later, current) {
  const before = current && (await caches.open(PREFIX + current));
  const isUsed = async (/** @type {[string, string]} */ [path, hash]) =>
    before ? before.match(path) : file(path, hash, 'only-if-cached').catch(() => undefined);
  const found = await Promise.all(Object.entries(later).map(async (entry) => ((await isUsed(entry)) ? entry : [])));
  return /** @type {[string, string][]} */ (found.filter(({ length }) => length > 0));
}

/** Looks for a newer version, now and then. */
export async function updateSometimes() {
  if (performance.now() - checkedAt > CHECK_MS) await update();
}

/**
 * The waiting version takes over, unless something is open.
 * @param {() => Promise<boolean>} isBusy
 */
async function settle(isBusy) {
  const { locks } = globalThis.navigator ?? {};
  // A navigation does not wait for a download: the next one takes the version.
  await (locks ? locks.request(LOCK, { ifAvailable: true }, (lock) => lock && settleAlone(isBusy)) : settleAlone(isBusy));
}

/** @param {() => Promise<boolean>} isBusy */
async function settleAlone(isBusy) {
  const next = await whole(NEXT);
  if (!next || (await isBusy())) return;
  await point(CURRENT, next);
  await (await caches.open(POINTERS)).delete(NEXT);
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== PREFIX + next) await caches.delete(name);
  }
}

/**
 * @param {Request} request
 * @returns {boolean} whether it may be for one of the app's files
 */
export function isOurs(request) {
  const url = new URL(request.url);
  return request.method === 'GET' && url.origin === location.origin && !url.pathname.startsWith('/v1/');
}

/**
 * @param {Request} request
 * @param {() => Promise<boolean>} isBusy whether a request is open
 * @returns {Promise<Response>} from the cache; from the network what is not in it
 */
export async function serve(request, isBusy) {
  const { pathname } = new URL(request.url);
  const isPage = request.mode === 'navigate' && PAGES.includes(pathname);
  const kept = await (async () => {
    if (isPage) await settle(isBusy);
    const current = await whole(CURRENT);
    if (!current) return undefined;
    const cache = await caches.open(PREFIX + current);
    return (await cache.match(isPage ? PAGE : pathname)) ?? (await missing(cache, pathname));
  })().catch(() => undefined);
  return kept || fetch(request);
}

/**
 * @param {Cache} cache of a version
 * @param {string} path
 * @returns {Promise<Response|undefined>} a file of this version that was not asked for until now, or that the browser dropped
 */
async function missing(cache, path) {
  const list = await (await cache.match(LIST))?.json();
  const { files, later } = sound(list ?? {});
  const hash = path === LIST ? undefined : { ...files, ...later }[path];
  if (!hash) return undefined;
  const response = await file(path, hash, 'no-cache').catch(() => undefined);
  // Files of two versions do not fit together.
  if (!response) return Response.error();
  await cache.put(path, response.clone());
  return response;
}
