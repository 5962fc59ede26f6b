// A device's name.

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
