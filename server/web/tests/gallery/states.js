// What there is to see. Times count from when the page was opened.

/** @typedef {import('../../js/ui/types.js').Item} Item */
/** @typedef {import('../../js/engine/types.js').Request} Request */
/** @typedef {Partial<Pick<import('../../js/ui/types.js').Engine, 'status'|'self'|'connection'|'machines'|'items'|'alarms'|'news'|'push'>>
 *   & {hash?: string, link?: boolean, pairing?: import('../../js/engine/types.js').Pairing, history?: import('../../js/ui/types.js').HistoryEntry[],
 *   challenge?: import('../../js/ui/types.js').Challenge, after?: (engine: import('./engine.js').FakeEngine) => void}} State */

const DAY = 86_400_000;
const now = Date.now();
const steady = performance.timeOrigin + performance.now();

/** @type {import('../../js/engine/types.js').Self} */
const self = {
  id: 'self', name: 'Pixel 8', fingerprint: 'SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE', algorithm: 'ssh-ed25519',
  server: 'https://push.example.com', createdAt: now - 41 * DAY, persisted: true,
};

const peers = [
  { id: 'self', name: 'Pixel 8', self: true, pairedAt: now - 41 * DAY, lastUsedAt: now - 3_600_000 },
  { id: 'tab', name: 'Old tablet in the drawer', self: false, pairedAt: now - 30 * DAY },
  { id: 'lap', name: 'thinkpad', self: false, pairedAt: now - 12 * DAY, lastUsedAt: now - 2 * DAY },
];

/** @param {string} id @param {string} name @param {object} [more] @returns {import('../../js/ui/types.js').Machine} */
const machine = (id, name, more = {}) => ({
  id, name, fingerprint: 'SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDRERJWCtoIBShXZzQ', users: ['alice'], pairedAt: now - 41 * DAY,
  lastUsedAt: now - 3_600_000, devices: { alice: { peers, more: 0, heardAt: now - 600_000 } }, ...more,
});
const db = machine('db', 'db-1');
const web = machine('web', 'web-3.example.com', { users: ['alice', 'deploy'], devices: { alice: { peers: peers.slice(0, 2), more: 1, heardAt: now - DAY } } });

/** @param {Partial<Request>} more @returns {Request} */
const request = (more) => ({
  version: 1, id: '0f'.repeat(16), reply_key: '', host: { name: 'db-1', key: '' }, user: 'alice', uid: 1000, service: 'sshd', kind: 'login',
  terminal: 'ssh', remote: { address: '192.0.2.7', port: 51422, source: 'kernel' }, issued_at: Math.floor(now / 1000) - 4, expires_in: 60,
  confirm: 'code', approvals: { needed: 1, from: [] }, ...more,
});

/** @param {string} key @param {Partial<Request>} [ask] @param {Partial<Item>} [more] @returns {Item} */
const item = (key, ask = {}, more = {}) => ({
  key, machine: db, request: request(ask), digest: key.padEnd(64, '3'), receivedAt: now, endsAt: steady + 52_000, phase: 'open', conflicts: [], ...more,
});

const sudo = { kind: /** @type {const} */ ('command'), service: 'sudo', command: '/usr/bin/apt-get install --yes postgresql-16', terminal: 'pts/3', remote: undefined, user: 'root', requester: 'alice' };
/** @param {number} n */
const manyPackages = (n) => Array.from({ length: n }, (_, i) => `install libexample${i} (1.${i}.4-2+deb12u1, Debian:12/stable)\n`).join('');
/** @param {number} n @returns {Partial<Request>} */
const packages = (n) => ({
  kind: 'action', service: 'ask', action: 'apt.install', detail: `install ${n} packages`, remote: undefined, terminal: 'pts/3', confirm: 'tap',
  list: { sha256: '', bytes: manyPackages(n).length, lines: n, key: '' },
});
const evil = '\u202Egnp.exe\u0007<img src=x onerror=alert(1)>\\ ' + 'x'.repeat(300);
const login = item('db/login');
const first = item('db/one', {}, { conflicts: [{ key: 'db/two', differs: ['from', 'terminal'] }] });
const second = item('db/two', { remote: { address: '203.0.113.99', source: 'pam' }, terminal: undefined }, { endsAt: steady + 31_000, conflicts: [{ key: 'db/one', differs: ['from', 'terminal'] }] });

/** @param {string} key @param {import('../../js/engine/types.js').Outcome|'over'} outcome @param {Partial<Item>} [more] @param {Partial<Request>} [ask] */
const closed = (key, outcome, more = {}, ask = {}) => item(key, ask, { phase: 'closed', outcome, endedAt: now - 40_000, ...more });

/** @param {import('../../js/engine/types.js').Pairing['step']} step @param {object} [more] @returns {State} */
const pairing = (step, more = {}) => ({
  status: 'new', link: true, push: { state: 'off' },
  pairing: { step, server: 'https://push.example.com', endsAt: now + 272_000, ...(step === 'code' || step === 'confirmed' || step === 'done'
    ? { code: '739204', host: { id: 'db', name: 'db-1', fingerprint: db.fingerprint }, user: 'alice' } : {}), ...more },
});

const ready = { self, machines: [db, web] };

/** @type {Record<string, State>} */
export const STATES = {
  welcome: { status: 'new' },
  'pair-ready': pairing('ready'),
  'pair-waiting': pairing('waiting'),
  'pair-code': pairing('code'),
  'pair-same-name': pairing('code', { sameName: { id: 'x', fingerprint: 'SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE' } }),
  'pair-confirmed': pairing('confirmed'),
  'pair-done': { ...pairing('done'), status: 'ready', self, machines: [{ ...db, devices: {} }], push: { state: 'on' }, items: [item('db/test', { kind: 'test', service: 'countersign', confirm: 'tap', remote: undefined, terminal: undefined })] },
  'pair-failed': pairing('failed', { fault: 'taken' }),
  'pair-other-server': { status: 'new', link: true },
  empty: ready,
  'empty-lonely': { ...ready, machines: [{ ...db, devices: {} }], push: { state: 'off' }, self: { ...self, persisted: false } },
  login: { ...ready, items: [login] },
  sudo: { ...ready, items: [item('db/sudo', sudo)] },
  lease: { ...ready, items: [item('db/lease', { lease_max: 28_800, ssh_key: { fingerprint: 'SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDRERJWCtoIBShXZzQ', type: 'ssh-ed25519' }, confirm: 'tap' })] },
  unlock: { ...ready, items: [item('db/unlock', { kind: 'unlock', service: 'xscreensaver', remote: undefined, terminal: ':0', confirm: 'tap' })] },
  action: { ...ready, items: [item('db/action', { kind: 'action', service: 'polkit-1', action: 'org.freedesktop.packagekit.system-update', remote: undefined, approvals: { needed: 2, from: ['@oncall'] } }, { clockApart: 95 })] },
  list: { ...ready, items: [item('db/list', packages(500), { listed: { state: 'there', text: manyPackages(500) } })] },
  'list-short': { ...ready, items: [item('db/list', packages(3), { listed: { state: 'there', text: manyPackages(3) } })] },
  'list-loading': { ...ready, items: [item('db/list', packages(500), { listed: { state: 'loading' } })] },
  'list-missing': { ...ready, items: [item('db/list', packages(500), { listed: { state: 'missing' } })] },
  'list-wrong': { ...ready, items: [item('db/list', packages(500), { listed: { state: 'wrong' } })] },
  'two-people': { ...ready, items: [item('db/two-people', { ...sudo, requester: 'bob', approvals: { needed: 2, from: ['@oncall', 'carol'] } })] },
  'two-people-code': { ...ready, items: [item('db/two-people', { ...sudo, requester: 'bob', approvals: { needed: 2, from: ['@oncall', 'carol'] } }, { phase: 'decided', answer: 'approve', code: '482913', delivered: true })] },
  test: { ...ready, items: [item('db/test', { kind: 'test', service: 'countersign', confirm: 'tap', remote: undefined, terminal: undefined })] },
  code: { ...ready, items: [item('db/code', {}, { phase: 'decided', answer: 'approve', code: '482913', delivered: true })] },
  sending: { ...ready, connection: { state: 'offline', reason: 'network' }, items: [item('db/code', {}, { phase: 'decided', answer: 'approve', code: '482913', endsAt: steady + 14_000 })] },
  denied: { ...ready, items: [item('db/deny', {}, { phase: 'decided', answer: 'report', delivered: true })] },
  conflict: { ...ready, items: [first, second] },
  'conflict-same': { ...ready, items: [{ ...first, conflicts: [{ key: 'db/two', differs: [] }] }, { ...first, key: 'db/two', digest: 'e'.repeat(64), conflicts: [{ key: 'db/one', differs: [] }] }] },
  closed: { ...ready, items: [closed('db/c1', 'approved', { answer: 'approve' }), closed('db/c2', 'reported', { answer: 'report' }, sudo), closed('db/c3', 'approved'), closed('db/c4', 'expired'), closed('db/c5', 'failed', { answer: 'approve' })] },
  alarm: { ...ready, alarms: [{ id: 'a1', at: now - 60_000, reason: 'bad-signature', machine: 'db-1', times: 3 }, { id: 'a2', at: now - 600_000, reason: 'unknown-host', keyId: 'mVPwvezndPvARoIadVY98vAC0gP5633yTC4dwXE', times: 1 }] },
  news: { ...ready, news: [{ id: 'n1', at: now - 60_000, what: 'paired', machine: 'db-1', user: 'alice', device: 'iPhone 15' }, { id: 'n2', at: now - 90_000, what: 'removed', machine: 'db-1', user: 'alice', device: 'Old tablet in the drawer' }] },
  evil: { ...ready, machines: [{ ...db, name: evil, users: [evil] }], items: [item('db/evil', { ...sudo, user: evil, requester: evil, service: evil, command: evil, terminal: evil, host: { name: evil, key: '' }, remote: { address: evil, source: 'none' } }, { machine: { ...db, name: evil } })] },
  request: { ...ready, items: [item('db/sudo', sudo)], hash: '#/request/db/sudo' },
  'request-gone': { ...ready, hash: '#/request/db/none' },
  machines: { ...ready, hash: '#/machines' },
  devices: { ...ready, hash: '#/devices' },
  'devices-weak': { ...ready, self: { ...self, persisted: false }, push: { state: 'denied' }, machines: [{ ...db, devices: { alice: { peers: peers.slice(0, 1), more: 0, heardAt: now } } }], hash: '#/devices' },
  history: {
    ...ready, hash: '#/history', history: [
      { key: 'db/1', machine: 'db-1', request: request({}), answer: 'approve', outcome: 'approved', at: now - 3_600_000 },
      { key: 'db/2', machine: 'db-1', request: request(sudo), outcome: 'denied', at: now - 3_700_000 },
      { key: 'db/3', machine: 'web-3.example.com', request: request({ user: 'deploy' }), answer: 'report', outcome: 'reported', at: now - DAY },
      { key: 'db/4', machine: 'db-1', request: request({}), outcome: 'expired', at: now - 9 * DAY },
    ],
  },
  'phone-code': { ...ready, connection: { state: 'offline' }, hash: '#/code', challenge: { machine: db, user: 'alice', service: 'sshd', address: '192.0.2.7', issuedAt: now - 5000, endsAt: now + 115_000, expired: false } },
  'phone-code-unknown': { ...ready, hash: '#/code' },
  settings: { ...ready, hash: '#/settings' },
  refused: { ...ready, connection: { state: 'refused', reason: 'unknown-key' } },
  lost: { status: 'lost' },
  unsupported: { status: 'unsupported' },
};
