// Reads QR codes: from the camera, about ten pictures a second, or from a photo.

import { t } from '../text/index.js';
import { h } from './dom.js';
import { icon } from './icons.js';

/** @typedef {{text: string, bytes: Uint8Array}} Found */

const INTERVAL_MS = 100;
/** Longest sides at which pictures are searched, in turn: which finds a code depends on blur and distance. */
const SIDES = [800, 400, 560, 320];
/** In a photo the code may be small. */
const PHOTO_SIDES = [...SIDES, 1400];

/**
 * Opens the camera until a code is found that `accept` takes.
 * @template T
 * @param {object} options
 * @param {string} options.title
 * @param {(found: Found) => T|undefined} options.accept
 * @returns {Promise<T|undefined>} nothing when the person gave up
 */
export async function openScanner({ title, accept }) {
  const asker = document.activeElement;
  const video = /** @type {HTMLVideoElement} */ (h('video', { playsinline: true, muted: true, 'data-testid': 'scanner', 'aria-label': t('scan.picture') }));
  const line = h('p', { role: 'status' }, t('scan.starting'));
  const dialog = /** @type {HTMLDialogElement} */ (h('dialog', { class: 'scanner', 'aria-labelledby': 'scan-title' },
    h('h2', { id: 'scan-title' }, title), h('div', { class: 'view' }, video, h('span', { class: 'frame', 'aria-hidden': 'true' })), line,
    h('div', { class: 'actions' },
      h('label', { class: 'button file' }, icon('image'), h('span', null, t('code.photo')), h('input', { type: 'file', accept: 'image/*', onchange: photo })),
      h('button', { type: 'button', 'data-testid': 'scan-stop', onclick: () => dialog.close() }, t('cancel')))));
  document.body.append(dialog);
  dialog.showModal();
  /** @type {T|undefined} */ let result;

  /** @param {Found|undefined} found */
  function take(found) {
    if (!found) return;
    result = accept(found);
    if (result === undefined) line.textContent = t('scan.other');
    else dialog.close();
  }
  /** @param {Event} event */
  async function photo(event) {
    const [file] = /** @type {HTMLInputElement} */ (event.currentTarget).files ?? [];
    if (!file) return;
    const found = await readPhoto(file);
    if (found) take(found);
    else line.textContent = t('scan.nothing');
  }

  const over = new Promise((resolve) => dialog.addEventListener('close', () => resolve(undefined), { once: true }));
  const stream = await camera(line);
  if (stream && dialog.open) {
    video.srcObject = stream;
    await video.play().catch(() => undefined);
    line.textContent = t('scan.hold');
    watch(video, () => dialog.open, take);
  }
  await over;
  for (const track of stream?.getTracks() ?? []) track.stop();
  dialog.remove();
  if (asker instanceof HTMLElement) asker.focus();
  return result;
}

/** @param {HTMLElement} line */
async function camera(line) {
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment', width: { ideal: 1280 }, height: { ideal: 1280 } } });
  } catch (error) {
    const denied = error instanceof DOMException && error.name === 'NotAllowedError';
    line.textContent = t(denied ? 'scan.denied' : 'scan.no-camera');
    return undefined;
  }
}

/** @param {HTMLVideoElement} video @param {() => boolean} on @param {(found: Found|undefined) => void} take */
async function watch(video, on, take) {
  for (let turn = 0; on(); turn += 1) {
    const began = performance.now();
    if (video.videoWidth) take(await search(video, video.videoWidth, video.videoHeight, SIDES[turn % SIDES.length] ?? 800));
    await new Promise((resolve) => setTimeout(resolve, Math.max(20, INTERVAL_MS - (performance.now() - began))));
  }
}

/** @param {Blob} file @returns {Promise<Found|undefined>} */
export async function readPhoto(file) {
  const picture = await createImageBitmap(file).catch(() => undefined);
  if (!picture) return undefined;
  try {
    for (const side of PHOTO_SIDES) {
      const found = await search(picture, picture.width, picture.height, side);
      if (found) return found;
    }
    return undefined;
  } finally {
    picture.close();
  }
}

const canvas = document.createElement('canvas');

/** @param {CanvasImageSource} source @param {number} width @param {number} height @param {number} side @returns {Promise<Found|undefined>} */
async function search(source, width, height, side) {
  const scale = Math.min(1, side / Math.max(width, height));
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const drawing = canvas.getContext('2d', { willReadFrequently: true });
  if (!drawing) return undefined;
  drawing.drawImage(source, 0, 0, canvas.width, canvas.height);
  const { data } = drawing.getImageData(0, 0, canvas.width, canvas.height);
  const { decodeQR } = await import('../../vendor/qr/decode.js');
  try {
    // The challenge is bytes, not text: each byte becomes the character of its number, and back.
    const raw = decodeQR({ width: canvas.width, height: canvas.height, data }, { textDecoder: latin });
    const bytes = Uint8Array.from(raw, (character) => character.charCodeAt(0));
    return { bytes, text: new TextDecoder().decode(bytes) };
  } catch {
    return undefined; // no code in this picture
  }
}

/** @param {Uint8Array} bytes */
const latin = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
