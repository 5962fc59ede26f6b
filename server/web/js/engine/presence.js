// Whether somebody looks at the page.

/** A page that nobody sees stays awake this long. */
const HIDDEN_MS = 60_000;
/** After so long out of sight a phone may have dropped the connection without a word. */
const STALE_MS = 10_000;

/**
 * @typedef {object} Watcher
 * @property {() => void} asleep nobody has looked for a while
 * @property {(isStale: boolean) => void} awake somebody looks again; `isStale`: connections may be dead
 * @property {() => void} online the network may be back
 */

export class Presence {
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer;
  #hiddenSince = 0;
  isAsleep = false;

  /** @param {Watcher} watcher */
  constructor(watcher) {
    this.watcher = watcher;
  }

  start() {
    globalThis.document?.addEventListener('visibilitychange', this.#looked);
    globalThis.addEventListener?.('online', this.watcher.online);
  }

  stop() {
    clearTimeout(this.#timer);
    globalThis.document?.removeEventListener('visibilitychange', this.#looked);
    globalThis.removeEventListener?.('online', this.watcher.online);
  }

  #looked = () => {
    clearTimeout(this.#timer);
    if (document.visibilityState === 'hidden') {
      this.#hiddenSince = Date.now();
      this.#timer = setTimeout(() => {
        this.isAsleep = true;
        this.watcher.asleep();
      }, HIDDEN_MS);
      return;
    }
    this.isAsleep = false;
    this.watcher.awake(Date.now() - this.#hiddenSince > STALE_MS);
  };
}
