// lint.mjs: what the web approver's files must be, beside well-typed: no way for text to become markup or code, and third-party
// modules exactly as they were published.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const web = path.join(here, '../../server/web');
const vendored = ['qr', '@noble/ed25519'].map((name) => path.join(here, 'node_modules', name));
const sinks = [
  /\b(?:inner|outer)HTML\b/, /\binsertAdjacentHTML\b/, /\bdocument\s*\.\s*write(?:ln)?\b/, /\beval\s*\(/, /\bnew\s+Function\b/,
  /\bsetHTML(?:Unsafe)?\b/, /\bcreateContextualFragment\b/, /\bDOMParser\b/, /\bsrcdoc\b/, /javascript:/i,
  /\bset(?:Timeout|Interval)\s*\(\s*['"`]/, /\bimportScripts\b/, /<[a-z][^>]*\son[a-z]+\s*=/i, /<[a-z][^>]*\sstyle\s*=/i,
];

/** @param {string} folder @returns {string[]} */
function files(folder) {
  return readdirSync(folder).flatMap((name) => {
    const file = path.join(folder, name);
    return statSync(file).isDirectory() ? files(file) : [file];
  });
}

/** @param {string} file */
const hash = (file) => createHash('sha256').update(readFileSync(file)).digest('hex');

const faults = [];
const published = new Set(vendored.flatMap(files).map(hash));
for (const file of files(web)) {
  const name = path.relative(web, file);
  if (name.startsWith('vendor/')) {
    if (/\.m?js$/.test(name) && !published.has(hash(file))) faults.push(`${name}: is no file of the packages in tests/web`);
    continue;
  }
  if (!/\.(m?js|html)$/.test(name) || name.startsWith('tests/')) continue;
  readFileSync(file, 'utf8').split('\n').forEach((line, index) => {
    const sink = sinks.find((one) => one.test(line));
    if (sink) faults.push(`${name}:${index + 1}: ${sink.source}: ${line.trim()}`);
  });
}
for (const fault of faults) console.error(fault);
process.exit(faults.length ? 1 : 0);
