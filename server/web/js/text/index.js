// Every word that a person reads comes from here: one file a language, same keys, `{name}` where something goes in.

/** @typedef {Record<string, string>} Words */

const STORED = 'countersign.language';
/** What there is, each in its own words. */
export const LANGUAGES = /** @type {const} */ ({ en: 'English', de: 'Deutsch' });
/** @typedef {keyof typeof LANGUAGES} Language */

/** @type {Language} */
let language = 'en';
/** @type {Words} */
let words = {};

/** The person's choice, or nothing: then the browser's language counts. @returns {Language|undefined} */
export function chosenLanguage() {
  const stored = localStorage.getItem(STORED);
  return stored === 'en' || stored === 'de' ? stored : undefined;
}

/** Loads the words. @param {Language} [choice] kept when given */
export async function loadText(choice) {
  if (choice) localStorage.setItem(STORED, choice);
  const asked = choice ?? chosenLanguage() ?? navigator.languages.map((l) => l.slice(0, 2)).find((l) => l in LANGUAGES);
  const german = asked === 'de' ? await import('./de.js').catch(() => undefined) : undefined;
  // Without a network a language is there if it was used before; English always is.
  words = (german ?? (await import('./en.js'))).default;
  language = german ? 'de' : 'en';
  document.documentElement.lang = language;
}

/** The words' language, for Intl. */
export const locale = () => (navigator.languages.find((l) => l.slice(0, 2) === language) ?? language);

/** @param {string} key @param {Record<string, string|number>} [values] */
export function t(key, values = {}) {
  return template(key).replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));
}

/** The same with nodes for values: a list to put into an element. @param {string} key @param {Record<string, Node|string|number>} values */
export function tt(key, values) {
  return template(key).split(/\{(\w+)\}/).map((part, i) => (i % 2 ? (values[part] ?? '') : part));
}

/** One or many: `KEY.one`, `KEY.other` with `{n}`. @param {string} key @param {number} n @param {Record<string, string|number>} [values] */
export function tn(key, n, values = {}) {
  const form = new Intl.PluralRules(language).select(n) === 'one' ? 'one' : 'other';
  return t(`${key}.${form}`, { n: number(n), ...values });
}

/** @param {string} key */
function template(key) {
  const found = words[key];
  if (found === undefined) throw new Error(`no words for ${key}`);
  return found;
}

/** @param {number} n */
export const number = (n) => new Intl.NumberFormat(locale()).format(n);

/** 14:03:07 @param {number} ms since 1970 */
export const clock = (ms) => new Intl.DateTimeFormat(locale(), { timeStyle: 'medium' }).format(ms);

/** 14:03 @param {number} ms since 1970 @param {string} [timeZone] this device's */
export const hour = (ms, timeZone) => new Intl.DateTimeFormat(locale(), { timeStyle: 'short', timeZone }).format(ms);

/** A day and a time of day, the day left out today. @param {number} ms since 1970 */
export function when(ms) {
  const today = new Date().toDateString() === new Date(ms).toDateString();
  return today ? hour(ms) : new Intl.DateTimeFormat(locale(), { dateStyle: 'medium', timeStyle: 'short' }).format(ms);
}

/** A day: today, yesterday, or its date. @param {number} ms since 1970 */
export function day(ms) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (ms >= midnight - 86_400_000) {
    const word = new Intl.RelativeTimeFormat(locale(), { numeric: 'auto' }).format(ms >= midnight ? 0 : -1, 'day');
    return word.charAt(0).toLocaleUpperCase(locale()) + word.slice(1);
  }
  return new Intl.DateTimeFormat(locale(), { dateStyle: 'full' }).format(ms);
}

/** 15 min, 8 hr. @param {number} seconds */
export const shortDuration = (seconds) => duration(seconds, 'short');

/** 45 seconds, 5 minutes, 1 hour 30 minutes. @param {number} seconds @param {'long'|'short'} [unitDisplay] */
export function duration(seconds, unitDisplay = 'long') {
  const parts = [[Math.floor(seconds / 3600), 'hour'], [Math.floor((seconds % 3600) / 60), 'minute'], [Math.floor(seconds % 60), 'second']];
  const said = parts.filter(([n]) => n).slice(0, 2).map(([n, unit]) => new Intl.NumberFormat(locale(), { style: 'unit', unit: String(unit), unitDisplay }).format(Number(n)));
  return said.length ? said.join(' ') : new Intl.NumberFormat(locale(), { style: 'unit', unit: 'second', unitDisplay }).format(0);
}

/** @param {string[]} items */
export const list = (items) => new Intl.ListFormat(locale(), { type: 'conjunction' }).format(items);
