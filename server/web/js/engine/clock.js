// Two clocks: the calendar's, and one that nobody sets.

/** @typedef {{wall: () => number, steady: () => number}} Clock both in ms since 1970 */

/**
 * @param {() => number} [now] for tests, in place of both
 * @returns {Clock}
 */
export function makeClock(now) {
  if (now) return { wall: now, steady: now };
  return { wall: () => Date.now(), steady: () => performance.timeOrigin + performance.now() };
}
