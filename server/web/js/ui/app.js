// The frame around the pages: navigation, connection, announcements, and drawing after each change.

import { number, t, tn } from '../text/index.js';
import { alarmText, newsText } from './alerts.js';
import { h, patch } from './dom.js';
import { guarded, whole } from './parts.js';
import { escape } from './escape.js';
import { icon, mark } from './icons.js';
import { register } from './install.js';
import { faultText } from './faults.js';
import { isBare, pageFor, routeOf } from './router.js';
import { placement } from './places.js';
import { tick } from './time.js';
import { codeText, headlineText, outcomeText } from './words.js';

/** @typedef {import('./types.js').Engine} Engine */
/** @typedef {import('./types.js').Page} Page */

/** How long a note stays. */
const NOTE_MS = 6000;
/** The places of the navigation; `wide`: only where there is room. */
const PLACES = [
  { hash: '#/', name: 'inbox', icon: 'inbox' }, { hash: '#/code', name: 'code', icon: 'scan' },
  { hash: '#/machines', name: 'machines', icon: 'machine' }, { hash: '#/devices', name: 'devices', icon: 'device' },
  { hash: '#/history', name: 'history', icon: 'history', wide: true }, { hash: '#/settings', name: 'settings', icon: 'settings' },
];

/** Draws the app for an engine, for as long as the page lives. @param {Engine} engine */
export function run(engine) {
  const handed = takeLink();
  const announcer = h('div', { class: 'unseen', 'aria-live': 'polite', 'data-testid': 'announcer' });
  const notes = h('div', { class: 'notes', role: 'status' });
  const main = h('main', { id: 'main', 'data-testid': 'page', tabindex: '-1' });
  const top = h('header', { class: 'top' });
  const nav = h('nav', { class: 'places' });
  const banner = h('div', { class: 'banner-place', role: 'status' });
  const skipLink = h('a', { class: 'skip', href: '#main', onclick: skip });
  document.body.append(
    skipLink, top, nav,
    h('div', { class: 'middle' }, banner, main), notes, announcer,
  );

  /** @type {Page} */ let page;
  /** @type {ReturnType<typeof routeOf>} */ let route;
  let placed = '';
  let settledAt = -Infinity;
  /** @type {Map<string, string>} */
  const phases = new Map();
  /** @type {Set<string>} */
  const told = new Set();

  /** @type {import('./types.js').Context} */
  const context = {
    engine, handed, refresh: draw, announce, note,
    go: (hash) => { if (location.hash === hash) navigate(); else location.hash = hash; },
    fail: (error) => note(faultText(error), true),
    settledAt: () => settledAt,
  };

  function navigate() {
    route = routeOf(location.hash, engine);
    page?.close?.();
    page = pageFor(route, context);
    main.replaceChildren();
    main.dataset.page = route.name;
    settledAt = performance.now();
    draw();
    scrollTo(0, 0);
    /** @type {HTMLElement|null} */ (main.querySelector('[data-heading]'))?.focus({ preventScroll: true });
  }

  function draw() {
    if (routeOf(location.hash, engine).name !== route.name) return navigate();
    watchCards();
    watchAlerts();
    const held = heldCard();
    const old = document.activeElement;
    patch(main, h('main', attributesOf(main), whole(page)));
    // What had the focus is gone, a button that was pressed for instance: its card takes the focus over.
    if (held && document.activeElement !== old) {
      /** @type {HTMLElement|null} */ (main.querySelector(`[data-key="${CSS.escape(held)}"] [data-focus]`))?.focus({ preventScroll: true });
    }
    frame();
    document.title = (waiting() ? `(${number(waiting())}) ` : '') + `${page.title()} – Countersign`;
    tick(announce);
  }

  const waiting = () => engine.items.filter((item) => item.phase === 'open').length;

  /** Alarms and news are told once. */
  function watchAlerts() {
    /** @type {Map<string, () => string>} */
    const texts = new Map([
      ...engine.alarms.map((alarm) => /** @type {const} */ ([`alarm ${alarm.id}`, () => alarmText(alarm)])),
      ...engine.news.map((news) => /** @type {const} */ ([`news ${news.id}`, () => newsText(news)])),
    ]);
    for (const [id, text] of texts) {
      if (!told.has(id)) say(text);
      told.add(id);
    }
    for (const id of told) if (!texts.has(id)) told.delete(id);
  }

  /** Notes when the cards moved, and tells a screen reader what became of them. */
  function watchCards() {
    const now = placement(engine, bannerFor(engine), page.step?.());
    if (now !== placed) settledAt = performance.now();
    placed = now;
    for (const item of engine.items) {
      const before = phases.get(item.key);
      if (before && before !== item.phase) {
        if (item.phase === 'decided' && item.code) say(() => codeText(item));
        if (item.phase === 'closed') say(() => `${headlineText(item)}: ${outcomeText(item.outcome ?? 'over', item.answer, item.request.kind)}`);
      }
      phases.set(item.key, item.phase);
    }
    const keys = new Set(engine.items.map(({ key }) => key));
    for (const key of phases.keys()) if (!keys.has(key)) phases.delete(key);
  }

  /** The key of the card that has the focus. */
  const heldCard = () => document.activeElement?.closest('article[data-key]')?.getAttribute('data-key');

  function frame() {
    const ready = engine.status === 'ready' && !isBare(engine);
    document.body.dataset.nav = String(ready);
    patch(skipLink, h('a', { class: 'skip', href: '#main', onclick: skip }, t('skip')));
    patch(top, h('header', { class: 'top' },
      h('a', { class: 'brand', href: '#/' }, mark(), h('span', null, 'Countersign')), ready ? connectionPill(engine) : isBare(engine) ? h('a', { class: 'gear', href: '#/settings', 'aria-label': t('nav.settings') }, icon('settings')) : null));
    patch(nav, h('nav', { class: 'places', 'aria-label': t('nav.label'), hidden: !ready },
      h('ul', null, PLACES.map((place) => h('li', { class: place.wide ? 'wide' : null },
        h('a', { href: place.hash, 'aria-current': route.name === place.name ? 'page' : null }, icon(place.icon),
          h('span', null, t(`nav.${place.name}`)),
          place.name === 'inbox' && waiting() > 0 && h('span', { class: 'count' }, number(waiting()), h('span', { class: 'unseen' }, ` ${tn('nav.waiting', waiting())}`))))))));
    patch(banner, h('div', { class: 'banner-place', role: 'status' }, connectionBanner(engine)));
  }

  /** Announces what has words. @param {() => string} text */
  const say = (text) => guarded(() => announce(text()), () => undefined);

  /** @param {string} text */
  function announce(text) {
    const line = h('p', null, text);
    announcer.append(line);
    setTimeout(() => line.remove(), NOTE_MS);
  }

  /** @param {string} text @param {boolean} [bad] */
  function note(text, bad = false) {
    const line = h('p', { class: bad ? 'note bad' : 'note', 'data-testid': 'note' }, icon(bad ? 'alarm' : 'check'), h('span', null, text));
    notes.replaceChildren(line);
    setTimeout(() => line.remove(), NOTE_MS);
  }

  engine.addEventListener('change', draw);
  engine.addEventListener('arrived', (event) => {
    say(() => t('inbox.arrived', { headline: headlineText(/** @type {CustomEvent} */ (event).detail) }));
  });
  addEventListener('hashchange', navigate);
  setInterval(() => tick(announce), 1000);
  register();
  engine.start();
  navigate();
}

/** A link to pair, out of the address bar at once: it holds a secret. @returns {{link?: string}} */
function takeLink() {
  if (location.pathname !== '/pair') return {};
  const link = location.href;
  history.replaceState(null, '', '/#/pair');
  return { link };
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById('main')?.focus();
}

/** @param {Element} element */
const attributesOf = (element) => Object.fromEntries([...element.attributes].map((a) => [a.name, a.value]));

/** @param {Engine} engine */
function connectionPill(engine) {
  const { state } = engine.connection;
  return h('p', { class: 'pill', 'data-testid': 'connection', 'data-state': state }, h('span', { class: 'dot' }), t(`connection.${state}`));
}

/** The connection, where a banner has to speak of it. @param {Engine} engine */
function bannerFor(engine) {
  const stands = engine.status === 'ready' && !isBare(engine) && ['offline', 'refused'].includes(engine.connection.state);
  return stands ? engine.connection : undefined;
}

/** @param {Engine} engine */
function connectionBanner(engine) {
  const banner = bannerFor(engine);
  if (!banner) return null;
  const { state, reason } = banner;
  return h('div', { class: `banner ${state}`, 'data-testid': 'banner' }, icon(state === 'offline' ? 'offline' : 'alarm'),
    h('p', null, h('strong', null, t(`banner.${state}`)), ' ', reason ? t(`fault.${reason}`) : t(`banner.${state}.more`)));
}
