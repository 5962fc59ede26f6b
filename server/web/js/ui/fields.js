// What a person types: a device's name, and a ticket.

/** Longest name in bytes: `protocol/src/message.rs`. */
export const MAX_NAME = 64;

/** Cut to what a device's name may have. @param {string} name */
export function fit(name) {
  let out = '';
  for (const character of name) {
    if (new TextEncoder().encode(out + character).length > MAX_NAME) break;
    out += character;
  }
  return out;
}

/** A ticket is 26 characters of Crockford's base32, in groups. */
const LENGTH = 26;
const GROUPS = [5, 5, 5, 5, 6];

/** Its characters alone, what is easily mistaken folded. @param {string} text */
const fold = (text) => text.toLowerCase().replace(/[\s-]/g, '').replace(/o/g, '0').replace(/[il]/g, '1');

/** In groups, as the terminal shows it. @param {string} text */
export function formatTicket(text) {
  const clean = fold(text).replace(/[^0-9a-z]/g, '').slice(0, LENGTH);
  const groups = [];
  let at = 0;
  for (const size of GROUPS) {
    if (at >= clean.length) break;
    groups.push(clean.slice(at, at + size));
    at += size;
  }
  return groups.join('-');
}
