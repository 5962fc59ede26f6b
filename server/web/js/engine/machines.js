// Paired machines, and what they say about a user's devices: records, without I/O or clock.

import { equal } from '../core/bytes.js';

/** @typedef {import('../core/bytes.js').Bytes} Bytes */
/** @typedef {import('./types.js').Machine} Machine */
/** @typedef {import('./types.js').DeviceNews} DeviceNews */
/** @typedef {import('./types.js').Sealed} Sealed */
/** @typedef {import('../core/messages.js').Notice} Notice */
/** @typedef {import('../core/messages.js').NoticeDevice} NoticeDevice */

/**
 * A removal on its way: sent until a notice no longer lists the device.
 * @typedef {object} RemovalRecord
 * @property {string} [digest] of the notice that `sealed` answers
 * @property {Sealed} [sealed]
 * @property {number} sent how often
 * @property {number} againAt
 * @property {number} until
 */

/**
 * What a machine's last notice about a user says.
 * @typedef {object} NoticeRecord
 * @property {string} id of the notices about that user
 * @property {string} digest
 * @property {string} replyKey
 * @property {number} issuedAt seconds, the host's clock
 * @property {number} heardAt
 * @property {NoticeDevice[]} devices
 * @property {number} more
 * @property {Record<string, RemovalRecord>} removals by device
 * @property {string[]} same digests of those heard before it that are of the same second
 * @property {Record<string, string>} told by device, what the person was told of it last
 */

/**
 * @typedef {object} MachineRecord
 * @property {string} id key id
 * @property {string} name
 * @property {string} line its public key
 * @property {string} fingerprint
 * @property {string[]} users
 * @property {Bytes} card hash of this device's card that the machine knows
 * @property {number} pairedAt ms since 1970, as all times here
 * @property {number} [lastUsedAt]
 * @property {Record<string, NoticeRecord>} notices by user
 */

/** Most users of one machine that notices are kept of. */
const MAX_USERS = 16;
/** How far a machine's clock may be ahead of this one's, in seconds. */
const MAX_AHEAD = 24 * 3600;
/** Most notices of one second, and most devices, that are remembered. */
const MAX_SAME = 8;
const MAX_TOLD = 64;
/** How long a removal is tried. */
const REMOVAL_MS = 24 * 3_600_000;
/** Waits before it is sent again; the last one repeats. */
const AGAIN_MS = [1_000, 4_000, 15_000, 60_000];

/**
 * A host chooses its users' names: one may be called `constructor`.
 * @param {MachineRecord} machine
 * @param {string} user
 */
const noticeOf = ({ notices }, user) => (Object.hasOwn(notices, user) ? notices[user] : undefined);

/**
 * The machine has sealed a message to a card. It never goes back to an earlier one; the message may be an old one.
 * @param {MachineRecord} machine
 * @param {Bytes} card
 * @param {Bytes[]} cards this device's, the newest first
 * @returns {MachineRecord|undefined} nothing when that is not new
 */
export function knowsCard(machine, card, cards) {
  const newer = cards.slice(0, cards.findIndex((one) => equal(one, card)) + 1);
  return newer.length > 0 && !newer.some((one) => equal(one, machine.card)) ? { ...machine, card } : undefined;
}

/**
 * @param {MachineRecord} machine
 * @param {Notice} notice
 * @param {string} digest
 * @param {{self: string, now: number}} at
 * @returns {{machine: MachineRecord, news: DeviceNews[]}|undefined} nothing when it is an old one
 */
export function heard(machine, notice, digest, { self, now }) {
  const known = noticeOf(machine, notice.user);
  // One notice from a clock that was wrong must not make all later ones old.
  const newest = now / 1000 + MAX_AHEAD;
  if (notice.issued_at > newest) return undefined;
  if (known && ((known.issuedAt > notice.issued_at && known.issuedAt <= newest) || known.digest === digest || known.same.includes(digest))) return undefined;
  if (!known && Object.keys(machine.notices).length >= MAX_USERS) return undefined;
  const changes = changesOf(notice, known, self);
  const told = Object.entries({ ...known?.told, ...Object.fromEntries(changes.map(({ id, mark }) => [id, mark])) });
  const isListed = (/** @type {string} */ id) => notice.devices.some((device) => device.id === id);
  /** @type {NoticeRecord} */
  const record = {
    id: notice.id,
    digest,
    replyKey: notice.reply_key,
    issuedAt: notice.issued_at,
    heardAt: now,
    devices: notice.devices,
    more: notice.more ?? 0,
    removals: Object.fromEntries(Object.entries(known?.removals ?? {}).filter(([id]) => isListed(id))),
    same: known?.issuedAt === notice.issued_at ? [...known.same, known.digest].slice(-MAX_SAME) : [],
    told: Object.fromEntries(told.slice(-MAX_TOLD)),
  };
  const changed = { ...machine, notices: { ...machine.notices, [notice.user]: record } };
  const about = { at: now, machine: machine.name, user: notice.user };
  const news = changes.map(({ id, what, name }) => ({ id: `${machine.id}/${digest}/${what}/${id}`, ...about, what, device: name }));
  return { machine: changed, news };
}

/**
 * What a notice says that the person was not told: its event, and all in which its list differs from the one before.
 * Events alone are not enough, as a server and a push service keep only the newest notice for a device that is off.
 * @param {Notice} notice
 * @param {NoticeRecord|undefined} known in a first list what was paired after this device is new
 * @param {string} self
 */
function changesOf({ event, devices, more = 0 }, known, self) {
  /** @type {Map<string, {id: string, name: string, what: DeviceNews['what'], mark: string}>} */
  const found = new Map();
  const listed = new Map(devices.map((device) => [device.id, device]));
  const before = new Map(known?.devices.map((device) => [device.id, device]));
  /** @param {NoticeDevice} device */
  const isNew = ({ id, paired_at }) => {
    const old = before.get(id);
    if (!known) return paired_at > (listed.get(self)?.paired_at ?? Infinity);
    // What was not listed before may have had no room there.
    return old ? paired_at > old.paired_at : known.more === 0 || paired_at >= known.issuedAt;
  };
  /** @param {string} id @param {string} name @param {DeviceNews['what']} what */
  const note = (id, name, what) => {
    const mark = what === 'paired' ? `${what} ${listed.get(id)?.paired_at}` : what;
    if (id !== self && known?.told[id] !== mark) found.set(id, { id, name, what, mark });
  };
  for (const device of devices) if (isNew(device)) note(device.id, device.name, 'paired');
  if (known && more === 0) for (const { id, name } of known.devices) if (!listed.has(id)) note(id, name, 'removed');
  if (event) note(event.device, event.name, event.what);
  return [...found.values()];
}

/**
 * @param {MachineRecord} machine
 * @param {string} user
 * @param {(notice: NoticeRecord) => NoticeRecord} change
 * @returns {MachineRecord|undefined} nothing without a notice about that user
 */
function changed(machine, user, change) {
  const notice = noticeOf(machine, user);
  return notice && { ...machine, notices: { ...machine.notices, [user]: change(notice) } };
}

/**
 * A device is to be removed.
 * @param {MachineRecord} machine
 * @param {string} user
 * @param {string} device
 * @param {number} now
 */
export function removing(machine, user, device, now) {
  if (!noticeOf(machine, user)?.devices.some((listed) => listed.id === device)) return undefined;
  return changed(machine, user, (notice) => ({
    ...notice,
    removals: { ...notice.removals, [device]: { sent: 0, againAt: now, until: now + REMOVAL_MS } },
  }));
}

/**
 * @typedef {{machine: string, user: string, device: string, notice: string, digest: string, replyKey: string, sealed?: Sealed}} DueRemoval
 * `sealed` only when it answers the last notice
 */

/**
 * @param {MachineRecord} machine
 * @param {number} now
 * @returns {DueRemoval[]} what is to be sent now
 */
export function dueRemovals(machine, now) {
  return Object.entries(machine.notices).flatMap(([user, { id, digest, replyKey, removals }]) =>
    Object.entries(removals)
      .filter(([, removal]) => removal.until > now && (removal.againAt <= now || removal.digest !== digest))
      .map(([device, { sealed, digest: answered }]) => ({
        machine: machine.id,
        user,
        device,
        notice: id,
        digest,
        replyKey,
        ...(answered === digest && sealed && { sealed }),
      })),
  );
}

/**
 * @param {MachineRecord} machine
 * @param {number} now
 * @returns {boolean} whether a removal is still tried
 */
export function isRemoving({ notices }, now) {
  return Object.values(notices).some(({ removals }) => Object.values(removals).some(({ until }) => until > now));
}

/**
 * Time passes: removals that were tried long enough are given up.
 * @param {MachineRecord} machine
 * @param {number} now
 * @returns {MachineRecord|undefined} nothing when there is none
 */
export function tick(machine, now) {
  const entries = Object.entries(machine.notices);
  if (!entries.some(([, { removals }]) => Object.values(removals).some(({ until }) => until <= now))) return undefined;
  const notices = entries.map(([user, notice]) => {
    const left = Object.entries(notice.removals).filter(([, { until }]) => until > now);
    return [user, { ...notice, removals: Object.fromEntries(left) }];
  });
  return { ...machine, notices: Object.fromEntries(notices) };
}

/**
 * A removal was signed and goes out.
 * @param {MachineRecord} machine
 * @param {DueRemoval} due
 * @param {Sealed} sealed
 * @param {number} now
 */
export function removalSent(machine, due, sealed, now) {
  return changed(machine, due.user, (notice) => {
    const removal = notice.removals[due.device];
    if (!removal) return notice;
    const wait = AGAIN_MS[Math.min(removal.sent, AGAIN_MS.length - 1)] ?? 0;
    const sent = { ...removal, digest: due.digest, sealed, sent: removal.sent + 1, againAt: now + wait };
    return { ...notice, removals: { ...notice.removals, [due.device]: sent } };
  });
}

/**
 * @param {MachineRecord} machine
 * @param {string} self
 * @param {number} now
 * @returns {Machine} for the pages
 */
export function machineView(machine, self, now) {
  const { notices, line, card, ...rest } = machine;
  /** @type {Machine['devices']} */
  const devices = Object.create(null);
  for (const [user, notice] of Object.entries(notices)) {
    const peers = notice.devices.map((device) => ({
      id: device.id,
      name: device.name,
      self: device.id === self,
      pairedAt: device.paired_at * 1000,
      ...(device.last_used_at !== undefined && { lastUsedAt: device.last_used_at * 1000 }),
      ...((notice.removals[device.id]?.until ?? 0) > now && { removing: true }),
    }));
    devices[user] = { peers, more: notice.more, heardAt: notice.heardAt };
  }
  return { ...rest, devices };
}
