// Two requests of one person at a time: one of them may be somebody else's.

/** @typedef {import('./inbox.js').ItemRecord} ItemRecord */
/** @typedef {import('./types.js').Conflict} Conflict */
/** @typedef {import('./types.js').Request} Request */
/** @typedef {Conflict['differs'][number]} Part */

/** @type {[Part, (record: ItemRecord) => unknown][]} */
const PARTS = [
  ['machine', (r) => r.machine],
  ['user', (r) => r.request.user],
  ['service', (r) => r.request.service],
  ['command', (r) => r.request.command],
  ['action', (r) => r.request.action],
  ['detail', (r) => r.request.detail],
  ['list', (r) => r.request.list?.sha256],
  ['requester', (r) => r.request.requester],
  ['from', (r) => r.request.remote?.address],
  ['terminal', (r) => r.request.terminal],
  ['ssh_key', (r) => (r.request.ssh_key ? `${r.request.ssh_key.type} ${r.request.ssh_key.fingerprint}` : undefined)],
];

/** One that was answered still waits for its code or its end; a test ring opens nothing. @param {ItemRecord} record */
const isRival = (record) => record.phase !== 'closed' && record.request.kind !== 'test';

/** For one user, or one person is asked in both: `su` asks whoever calls it. @param {Request} a @param {Request} b */
const meet = (a, b) => a.user === b.user || a.approvals.from.some((name) => b.approvals.from.includes(name));

/**
 * Other requests that are not over, to the same person, and in what they differ from this one, which is undecided.
 * @param {ItemRecord} own
 * @param {ItemRecord[]} all
 * @returns {Conflict[]}
 */
export function conflicts(own, all) {
  if (own.phase !== 'open' || !isRival(own)) return [];
  return all
    .filter((other) => other.key !== own.key && isRival(other) && meet(own.request, other.request))
    .map((other) => ({
      key: other.key,
      differs: PARTS.filter(([, part]) => part(own) !== part(other)).map(([name]) => name),
    }));
}
