// The app's own files, kept so that it opens without a network. One cache a version: a version is complete or not
// there, and takes over at a navigation when no request is open.

/** @typedef {{version: string, files: string[]}} AppFiles */

/** What the server generates from its files. */
const LIST = '/app-files.json';
const PREFIX = 'countersign-app-';
/** Names of versions: the one that is served, and one that waits. */
const POINTERS = 'countersign-versions';
const [CURRENT, NEXT] = ['/current', '/next'];
const MAX_FILES = 500;
/** The list is asked for at most this often. */
const CHECK_MS = 60_000;
/** Pages of the app; all have one file. */
const PAGES = ['/', '/pair'];

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
  return (await (await caches.open(PREFIX + version)).match('/')) !== undefined;
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
  const response = await fetch(LIST, { cache: 'no-store', credentials: 'omit' });
  const { version, files } = response.ok ? await response.json() : {};
  const isSound =
    typeof version === 'string' &&
    /^[\w.+-]{1,128}$/.test(version) &&
    Array.isArray(files) &&
    files.length <= MAX_FILES &&
    files.every((file) => typeof file === 'string' && /^\/(?!\/|v1\/)/.test(file));
  if (!isSound) throw new TypeError('no list of files');
  return { version, files };
}

/** Brings the newest version here, if it is another one. It is served at once only when there was none. */
export async function update() {
  checkedAt = performance.now();
  const { locks } = globalThis.navigator ?? {};
  await (locks ? locks.request(LOCK, updateAlone) : updateAlone());
}

async function updateAlone() {
  const { version, files } = await list();
  const [current, next] = [await whole(CURRENT), await whole(NEXT)];
  if (version === current) {
    // What waited was taken back.
    await (await caches.open(POINTERS)).delete(NEXT);
    return;
  }
  if (version === next) return;
  await caches.delete(PREFIX + version);
  const cache = await caches.open(PREFIX + version);
  await cache.addAll(files.map((file) => new Request(file, { cache: 'no-cache', credentials: 'omit' })));
  // A server that was replaced meanwhile may have given files of both versions.
  if ((await list()).version !== version || !(await isWhole(version))) {
    await caches.delete(PREFIX + version);
    throw new TypeError('the version has changed meanwhile, or lacks its page');
  }
  await point(current ? NEXT : CURRENT, version);
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
    return current && (await (await caches.open(PREFIX + current)).match(isPage ? '/' : pathname));
  })().catch(() => undefined);
  return kept || fetch(request);
}
