// What comes from hosts, believed only after its seal and signature.

import { PublicKey } from '../core/keys.js';
import { BadSignature, digest, noticeId, verifyMessage } from '../core/messages.js';
import { open, peek } from '../core/seal.js';

/** @typedef {import('./inbox.js').Reason} Reason */
/** @typedef {import('./device.js').Device} Device */
/** @typedef {import('./machines.js').MachineRecord} MachineRecord */
/** @typedef {import('./types.js').Sealed} Sealed */
/** @typedef {import('../core/messages.js').Notice} Notice */

/** @typedef {import('../core/bytes.js').Bytes} Bytes */

/**
 * `card`: the hash of this device's card that its host knows.
 * @typedef {{card: Bytes, machine: string, machineName: string} & ({type: 'request'} & import('./inbox.js').Arrival
 *   | {type: 'closed'} & import('./inbox.js').Closing
 *   | {type: 'notice', notice: Notice, digest: string})} Letter
 */

/** A message that is shown to nobody; that it came is. */
export class Alarming extends Error {
  /**
   * @param {Reason} reason
   * @param {{machine?: string, keyId?: string}} [who]
   */
  constructor(reason, who = {}) {
    super(reason);
    this.reason = reason;
    this.who = who;
  }
}

/**
 * Opens, verifies and only then reads a message.
 * @param {Sealed} sealed
 * @param {Device} device
 * @param {MachineRecord[]} machines
 * @returns {Promise<Letter>} throws `Alarming`
 */
export async function readLetter(sealed, device, machines) {
  const envelope = orAlarm('damaged', {}, () => peek(sealed));
  const machine = machines.find((m) => m.id === envelope.from);
  if (!machine) throw new Alarming('unknown-host', { keyId: envelope.from });
  const who = { machine: machine.name, keyId: machine.id };
  if (envelope.to !== device.id) throw new Alarming('wrong-envelope', who);
  const host = await PublicKey.fromLine(machine.line);
  const { body, signature, card } = await openWithAny(sealed, device, machine, host).catch(() => {
    throw new Alarming('damaged', who);
  });
  const { type } = envelope;
  if (type !== 'request' && type !== 'closed' && type !== 'notice') throw new Alarming('wrong-envelope', who);
  const message = await verifyMessage(type, body, signature, host).catch((error) => {
    throw new Alarming(error instanceof BadSignature ? 'bad-signature' : 'damaged', who);
  });
  // The relay sorts by the envelope's id; another one inside would let it mix them up.
  if (message.id !== envelope.id) throw new Alarming('wrong-envelope', who);
  const [hash, about] = [await digest(body), { card, machine: machine.id, machineName: machine.name }];
  const key = `${machine.id}/${message.id}`;
  if ('host' in message) {
    if (message.host.key !== machine.line) throw new Alarming('wrong-host', who);
    return { type: 'request', ...about, key, request: message, digest: hash };
  }
  if ('outcome' in message) {
    return { type: 'closed', ...about, key, digest: message.request, outcome: message.outcome };
  }
  if (message.id !== (await noticeId(message.user))) throw new Alarming('wrong-envelope', who);
  return { type: 'notice', ...about, notice: message, digest: hash };
}

/**
 * A message may have been sealed to a card of earlier: a machine knows only those that it was told of.
 * @param {Sealed} sealed
 * @param {Device} device
 * @param {MachineRecord} machine
 * @param {PublicKey} host
 */
async function openWithAny(sealed, device, machine, host) {
  let failure;
  for (const card of [machine.card, ...device.cardHashes]) {
    try {
      return { ...(await open(device.sealKey, card, host, sealed)), card };
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

/**
 * @template T
 * @param {Reason} reason
 * @param {{machine?: string, keyId?: string}} who
 * @param {() => T} body
 * @returns {T}
 */
function orAlarm(reason, who, body) {
  try {
    return body();
  } catch {
    throw new Alarming(reason, who);
  }
}
