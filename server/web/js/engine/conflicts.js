// Two requests of one person at a time: one of them may be somebody else's.

/** @typedef {import('./inbox.js').ItemRecord} ItemRecord */
/** @typedef {import('./types.js').Conflict} Conflict */
/** @typedef {Conflict['differs'][number]} Part */

/** @type {[Part, (record: ItemRecord) => unknown][]} */
const PARTS = [
  ['machine', (r) => r.machine],
  ['service', (r) => r.request.service],
  ['command', (r) => r.request.command],
  ['action', (r) => r.request.action],
  ['requester', (r) => r.request.requester],
  ['from', (r) => r.request.remote?.address],
  ['terminal', (r) => r.request.terminal],
  ['ssh_key', (r) => (r.request.ssh_key ? `${r.request.ssh_key.type} ${r.request.ssh_key.fingerprint}` : undefined)],
];

/** A test ring opens nothing: it is nobody's rival. @param {ItemRecord} record */
const counts = (record) => record.phase === 'open' && record.request.kind !== 'test';

/**
 * Other undecided requests of the same user, and in what they differ from this one.
 * @param {ItemRecord} own
 * @param {ItemRecord[]} all
 * @returns {Conflict[]}
 */
export function conflicts(own, all) {
  if (!counts(own)) return [];
  return all
    .filter((other) => other.key !== own.key && counts(other) && other.request.user === own.request.user)
    .map((other) => ({
      key: other.key,
      differs: PARTS.filter(([, part]) => part(own) !== part(other)).map(([name]) => name),
    }));
}
