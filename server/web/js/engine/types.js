// The approver's words: what the engine gives to the pages, and the messages that travel. Types only.
// `protocol/src/message.rs` and `api.rs` say the same for the other side.

/**
 * A host's signed request, as verified.
 * @typedef {object} Request
 * @property {number} version
 * @property {string} id 32 hex digits
 * @property {string} reply_key X25519, base64
 * @property {{name: string, key: string}} host
 * @property {string} user
 * @property {number} uid
 * @property {string} [requester]
 * @property {string} service
 * @property {'login'|'command'|'unlock'|'action'|'test'} kind
 * @property {string} [command]
 * @property {string} [action]
 * @property {string} [detail] the same in words
 * @property {import('../core/list.js').List} [list] a long text that travels beside it
 * @property {string} [terminal]
 * @property {{address: string, port?: number, source: 'kernel'|'pam'|'none'}} [remote]
 * @property {{fingerprint: string, type: string}} [ssh_key]
 * @property {{new_source?: boolean, place?: {text: string, source: 'geoip'}, zone?: {name?: string, offset: number}}} [context]
 *   what the host knows beside that; `offset` in minutes ahead of UTC
 * @property {number} issued_at seconds, the host's clock
 * @property {number} expires_in seconds, at most 600
 * @property {'code'|'tap'} confirm
 * @property {number} [lease_max] seconds
 * @property {number} [lease_uses] how many logins a lease is good for
 * @property {{needed: number, from: string[]}} approvals
 */

/** @typedef {'approve'|'deny'|'report'} Answer */
/** @typedef {'approved'|'denied'|'reported'|'expired'|'withdrawn'|'failed'|'replaced'|'otherwise'} Outcome */
/** @typedef {{envelope: string, sealed: string}} Sealed */

/**
 * `new`: no keys yet. `ready`: keys are here. `lost`: this browser has paired once, and its keys are gone or cannot be
 * read; machines of which there still is a record are listed.
 * `unsupported`: no secure context, or a browser without X25519 or IndexedDB.
 * @typedef {'new'|'ready'|'lost'|'unsupported'} Status
 */

/**
 * This device.
 * @typedef {object} Self
 * @property {string} id key id
 * @property {string} name
 * @property {string} fingerprint `SHA256:…`
 * @property {'ssh-ed25519'|'ecdsa-sha2-nistp256'} algorithm
 * @property {string} server origin
 * @property {number} createdAt ms since 1970
 * @property {boolean} persisted whether the browser has promised to keep the keys
 */

/**
 * `refused`: the server does not know this device any more, or does not take it.
 * @typedef {object} Connection
 * @property {'idle'|'connecting'|'live'|'offline'|'refused'} state
 * @property {FaultCode} [reason]
 */

/**
 * A device of the person, as a machine's last notice lists it.
 * @typedef {object} Peer
 * @property {string} id key id
 * @property {string} name
 * @property {boolean} self whether it is this device
 * @property {number} pairedAt ms since 1970
 * @property {number} [lastUsedAt] ms since 1970
 * @property {boolean} [removing] a removal is on its way
 */

/**
 * A paired machine.
 * @typedef {object} Machine
 * @property {string} id key id
 * @property {string} name as paired
 * @property {string} fingerprint
 * @property {string[]} users for whom this device approves there
 * @property {number} pairedAt ms since 1970
 * @property {number} [lastUsedAt] ms since 1970
 * @property {Object<string, {peers: Peer[], more: number, heardAt: number}>} devices by user, without a prototype; empty until a notice came
 */

/**
 * A request at this device.
 * @typedef {object} Item
 * @property {string} key `MACHINE-ID/REQUEST-ID`
 * @property {Machine} machine
 * @property {Request} request
 * @property {string} digest SHA-256 of the request's bytes, hex
 * @property {number} receivedAt ms since 1970
 * @property {number} endsAt ms on the clock of `performance.timeOrigin + performance.now()`
 * @property {number} [clockApart] seconds that the host's clock is ahead, when over 30
 * @property {'open'|'signing'|'decided'|'closed'} phase
 * @property {Answer} [answer] an approval may be followed by a denial or a report until its request is closed
 * @property {string} [code] six digits to type at the terminal, after approving
 * @property {string} [unsent] eight digits to type where the approval cannot be sent
 * @property {number} [leaseUntil] ms since 1970, when a lease was granted
 * @property {boolean} [delivered] whether the server has the answer
 * @property {Outcome|'over'} [outcome] how it ended; `over` when nobody said
 * @property {number} [endedAt] ms since 1970
 * @property {Listed} [listed] of a request that has a list; without its text it is not approved
 * @property {Conflict[]} conflicts what other requests to the same person differ in that are not over; none, or not open: []
 */

/**
 * What is known here of a request's list. `missing`: it has not come; `wrong`: it is not the one that was signed. Both
 * are tried again.
 * @typedef {{state: 'loading'|'missing'|'wrong', text?: undefined} | {state: 'there', text: string}} Listed
 */

/**
 * @typedef {object} Conflict
 * @property {string} key of the other item
 * @property {('machine'|'user'|'service'|'command'|'action'|'detail'|'list'|'requester'|'from'|'terminal'|'ssh_key')[]} differs empty: only the time
 */

/**
 * Something that must not happen: somebody cheats, or something is broken. It has no approve.
 * @typedef {object} Alarm
 * @property {string} id
 * @property {number} at ms since 1970
 * @property {'unknown-host'|'bad-signature'|'wrong-envelope'|'wrong-host'|'two-requests'|'other-request-closed'|'too-many'|'damaged'} reason
 * @property {string} [machine] name of the paired machine in whose name it came
 * @property {string} [keyId] who the envelope says it is from
 * @property {number} times how often
 */

/**
 * A machine says that a device was added or removed.
 * @typedef {object} DeviceNews
 * @property {string} id
 * @property {number} at ms since 1970
 * @property {'paired'|'removed'} what
 * @property {string} machine name
 * @property {string} user
 * @property {string} device name
 */

/**
 * One line of the history, kept on this device only; the newest 500.
 * @typedef {object} HistoryEntry
 * @property {string} key
 * @property {string} machine name
 * @property {Request} request
 * @property {Answer} [answer] given here
 * @property {Outcome|'over'} outcome
 * @property {number} at ms since 1970
 * @property {number} [late] seconds after its end that it came here: this device was away, or the clocks differ
 */

/**
 * `off`: could be on. `on`. `denied`: the person or the browser forbids notifications. `install`: only the installed
 * app may (iOS). `unsupported`.
 * @typedef {object} PushState
 * @property {'off'|'on'|'denied'|'install'|'unsupported'|'failed'} state
 * @property {FaultCode} [reason]
 */

/**
 * A phone-code challenge that was scanned.
 * @typedef {object} Challenge
 * @property {Machine} machine
 * @property {string} user
 * @property {string} service
 * @property {string} address empty when local
 * @property {number} issuedAt ms since 1970
 * @property {number} endsAt ms since 1970
 * @property {boolean} expired
 */

/**
 * Why something did not work; `text/` has a sentence and a next step for each.
 * @typedef {'network'|'server'|'limit'|'unknown-key'|'not-linked'|'old-card'|'bad-link'|'link-version'|'other-server'
 *   |'mailbox-closed'|'mailbox-full'|'taken'|'contradiction'|'reveal'|'receipt'|'expired'|'cancelled'|'storage'|'keys'
 *   |'browser'|'insecure'|'install-first'|'not-a-challenge'|'unknown-host'|'notify-denied'|'push'|'version'|'unexpected'} FaultCode
 */

/**
 * A pairing under way; a `change` event after each step.
 * @typedef {object} Pairing
 * @property {'ready'|'sending'|'waiting'|'code'|'confirmed'|'done'|'failed'} step `ready`: waits for `start`; `waiting`: the
 *   host has not answered; `code`: the code is to be typed there; `done`: the host is pinned
 * @property {string} server origin
 * @property {string} [code] six digits
 * @property {{id: string, name: string, fingerprint: string}} [host] from `code` on
 * @property {string} [user] from `code` on
 * @property {{id: string, fingerprint: string}} [sameName] another machine that is paired under the host's name: a new
 *   installation, or somebody who wants to be taken for it
 * @property {FaultCode} [fault]
 * @property {number} endsAt ms since 1970
 */

export {};
