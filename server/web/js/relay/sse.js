// `text/event-stream`, read from chunks. Events are small here, so that a server cannot make the reader hold much.

/** Longest event, its field names included. */
export const MAX_EVENT = 32 * 1024;

/** @typedef {{name: string, data: string}} Event a comment has the name `:` */

export class Parser {
  #decoder = new TextDecoder('utf-8', { fatal: true });
  #buffer = '';
  #name = '';
  /** @type {string|undefined} */
  #data;

  /**
   * @param {Uint8Array} chunk
   * @returns {Event[]} throws when it is no such stream
   */
  push(chunk) {
    this.#buffer += this.#decoder.decode(chunk, { stream: true });
    const lines = this.#buffer.split('\n');
    this.#buffer = lines.pop() ?? '';
    const events = lines.flatMap((line) => this.#line(line.endsWith('\r') ? line.slice(0, -1) : line));
    if (this.#buffer.length > MAX_EVENT) throw new RangeError('too long a line');
    return events;
  }

  /** @param {string} line @returns {Event[]} */
  #line(line) {
    if (line === '') {
      const [name, data] = [this.#name || 'message', this.#data];
      this.#name = '';
      this.#data = undefined;
      // An event without data is none.
      return data === undefined ? [] : [{ name, data }];
    }
    if (line.startsWith(':')) return [{ name: ':', data: '' }];
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.#name = value;
    if (field === 'data') this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
    if (this.#name.length + (this.#data?.length ?? 0) > MAX_EVENT) throw new RangeError('too long an event');
    return [];
  }
}
