// Why something did not work, by a code that `text/` has a sentence for.

/** @typedef {import('../engine/types.js').FaultCode} FaultCode */

export class Fault extends Error {
  /**
   * @param {FaultCode} code
   * @param {string} [detail] for the console only
   * @param {{status?: number, retryAfter?: number}} [answer] of the server: HTTP status, and seconds to wait
   */
  constructor(code, detail, { status, retryAfter } = {}) {
    super(detail ? `${code}: ${detail}` : code);
    this.name = 'Fault';
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/**
 * @param {unknown} error
 * @returns {Fault} the error itself when it is one
 */
export function asFault(error) {
  return error instanceof Fault ? error : new Fault('unexpected', String(error));
}

/** For what runs by itself: its failure is shown elsewhere, or it is tried again. @param {Promise<unknown>} work */
export function quietly(work) {
  work.catch((error) => {
    if (!(error instanceof Fault)) console.error(error);
  });
}
