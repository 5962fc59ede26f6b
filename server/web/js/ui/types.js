// What the pages need of an engine, so that the gallery's and the real one are checked against the same words.

/** @typedef {import('../engine/types.js').Item} Item */
/** @typedef {import('../engine/types.js').Machine} Machine */
/** @typedef {import('../engine/types.js').Alarm} Alarm */
/** @typedef {import('../engine/types.js').DeviceNews} DeviceNews */
/** @typedef {import('../engine/types.js').Answer} Answer */
/** @typedef {import('../engine/types.js').Challenge} Challenge */
/** @typedef {import('../engine/types.js').HistoryEntry} HistoryEntry */
/** @typedef {import('../engine/types.js').FaultCode} FaultCode */
/** @typedef {import('../engine/types.js').Outcome} Outcome */

/**
 * @typedef {EventTarget & import('../engine/types.js').Pairing & {
 *   start(options: {name: string, notify: boolean}): Promise<unknown>, cancel(): unknown}} PairingSession
 */

/**
 * @typedef {EventTarget & {
 *   status: import('../engine/types.js').Status, self?: import('../engine/types.js').Self|null,
 *   connection: import('../engine/types.js').Connection, machines: Machine[], items: Item[], alarms: Alarm[],
 *   news: DeviceNews[], push: import('../engine/types.js').PushState,
 *   appInfo?: {server: string, vapid: string}|null,
 *   start(): unknown,
 *   decide(key: string, answer: Answer, options?: {lease?: number}): Promise<unknown>,
 *   pair(linkOrTicket: string): Promise<PairingSession>,
 *   enablePush(): Promise<unknown>, disablePush(): Promise<unknown>,
 *   rename(name: string): Promise<unknown>,
 *   removeDevice(machine: string, user: string, device: string): Promise<unknown>,
 *   forgetMachine(id: string): Promise<unknown>, forgetEverything(): Promise<unknown>,
 *   history(): Promise<HistoryEntry[]>, clearHistory(): Promise<unknown>,
 *   readChallenge(bytes: Uint8Array): Promise<Challenge>, phoneCode(challenge: Challenge): Promise<string>,
 *   dismissAlarm(id: string): unknown, dismissNews(id: string): unknown, startOver(): Promise<unknown>}} Engine
 */

/**
 * What a page is given.
 * @typedef {object} Context
 * @property {Engine} engine
 * @property {() => void} refresh draws the page anew
 * @property {(hash: string) => void} go
 * @property {(text: string) => void} announce to a screen reader, politely
 * @property {(text: string, bad?: boolean) => void} note a short line at the bottom
 * @property {(error: unknown) => void} fail the line for an error
 * @property {() => number} settledAt when the cards last moved, by performance.now()
 * @property {{link?: string}} handed what the address bar brought
 */

/**
 * @typedef {object} Page
 * @property {() => string} title
 * @property {() => import('./dom.js').Child} view first a heading with `data-heading`
 * @property {() => string} [step] of a page that is several, one after the other
 * @property {() => void} [close]
 */

export {};
