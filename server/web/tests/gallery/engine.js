// An engine without keys or a network, which plays a state and answers as the real one would.

/** @typedef {import('../../js/ui/types.js').Engine} Engine */

export class FakeEngine extends EventTarget {
  /** @param {import('./states.js').State} state */
  constructor(state) {
    super();
    this.status = state.status ?? 'ready';
    this.self = state.self ?? null;
    this.connection = state.connection ?? { state: /** @type {const} */ ('live') };
    this.machines = state.machines ?? [];
    this.items = state.items ?? [];
    this.alarms = state.alarms ?? [];
    this.news = state.news ?? [];
    /** @type {import('../../js/engine/types.js').PushState} */
    this.push = state.push ?? { state: 'on' };
    this.appInfo = { server: '0.3.0', vapid: '' };
    this.state = state;
  }

  changed() {
    this.dispatchEvent(new Event('change'));
  }

  start() {}

  /** @param {import('../../js/ui/types.js').Item} item */
  arrive(item) {
    this.items = [item, ...this.items];
    this.changed();
    this.dispatchEvent(new CustomEvent('arrived', { detail: item }));
  }

  /** @param {string} key @param {import('../../js/ui/types.js').Answer} answer @param {{lease?: number}} [options] */
  async decide(key, answer, { lease } = {}) {
    const item = this.items.find((one) => one.key === key);
    if (!item) throw Object.assign(new Error('gone'), { code: 'unexpected' });
    item.phase = 'signing';
    this.changed();
    await new Promise((resolve) => setTimeout(resolve, 150));
    Object.assign(item, {
      phase: 'decided', answer, code: answer === 'approve' && item.request.confirm === 'code' ? '482913' : undefined,
      leaseUntil: lease ? Date.now() + lease * 1000 : undefined,
    });
    item.conflicts = [];
    this.changed();
    setTimeout(() => { item.delivered = true; this.changed(); }, 400);
    return item;
  }

  /** @param {string} link */
  async pair(link) {
    if (this.state.pairing === undefined) throw Object.assign(new Error(link), { code: 'other-server' });
    return new FakePairing(this.state.pairing);
  }

  async enablePush() { this.push = { state: 'on' }; this.changed(); }
  async disablePush() { this.push = { state: 'off' }; this.changed(); }
  /** @param {string} name */
  async rename(name) { if (this.self) this.self.name = name; this.changed(); }
  /** @param {string} machine @param {string} user @param {string} device */
  async removeDevice(machine, user, device) {
    const peer = this.machines.find((m) => m.id === machine)?.devices[user]?.peers.find((p) => p.id === device);
    if (peer) peer.removing = true;
    this.changed();
  }

  /** @param {string} id */
  async forgetMachine(id) { this.machines = this.machines.filter((m) => m.id !== id); this.changed(); }
  async forgetEverything() { this.status = 'new'; this.changed(); }
  async startOver() { this.status = 'new'; this.changed(); }
  async history() { return this.state.history ?? []; }
  async clearHistory() { this.state.history = []; }
  /** @param {Uint8Array} _bytes */
  async readChallenge(_bytes) {
    if (!this.state.challenge) throw Object.assign(new Error(), { code: 'unknown-host' });
    return this.state.challenge;
  }

  async phoneCode() { return '20481937'; }
  /** @param {string} id */
  dismissAlarm(id) { this.alarms = this.alarms.filter((a) => a.id !== id); this.changed(); }
  /** @param {string} id */
  dismissNews(id) { this.news = this.news.filter((n) => n.id !== id); this.changed(); }
}

class FakePairing extends EventTarget {
  /** @param {import('../../js/engine/types.js').Pairing} pairing */
  constructor(pairing) {
    super();
    this.step = pairing.step;
    this.server = pairing.server;
    this.code = pairing.code;
    this.host = pairing.host;
    this.user = pairing.user;
    this.sameName = pairing.sameName;
    this.fault = pairing.fault;
    this.endsAt = pairing.endsAt;
  }

  async start() {
    this.step = /** @type {const} */ ('waiting');
    this.dispatchEvent(new Event('change'));
  }

  cancel() {}
}
