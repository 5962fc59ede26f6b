// Text from outside, made inert before it is shown: the web's twin of `protocol/src/text.rs`.

/** Ranges of characters that act on their surroundings instead of being drawn. @type {[number, number][]} */
const ACTIVE = [
  [0x00, 0x1f], [0x7f, 0x9f], [0xad, 0xad], [0x34f, 0x34f], [0x61c, 0x61c], [0x115f, 0x1160], [0x17b4, 0x17b5], [0x180b, 0x180f],
  [0x200b, 0x200f], [0x2028, 0x202e], [0x2060, 0x206f], [0x3164, 0x3164], [0xd800, 0xdfff], [0xfe00, 0xfe0f],
  [0xfeff, 0xfeff], [0xffa0, 0xffa0], [0xfff0, 0xfffb], [0x13430, 0x1343f], [0x1bca0, 0x1bca3], [0x1d173, 0x1d17a],
  [0xe0000, 0xe0fff],
];

/**
 * Controls, line separators, bidirectional and invisible characters become `\u{…}`, and a backslash `\\`, so that the
 * result is unambiguous. (A lone surrogate, which Rust's strings cannot hold, is escaped too.)
 * @param {string} text
 */
export function escape(text) {
  let out = '';
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (character === '\\') out += '\\\\';
    else if (ACTIVE.some(([from, to]) => code >= from && code <= to)) out += `\\u{${code.toString(16)}}`;
    else out += character;
  }
  return out;
}
