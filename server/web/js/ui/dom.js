// Making nodes, and bringing the nodes on screen to what a page wants now.
//
// A page is a function from the engine's state to nodes. `patch` changes only what differs, so that focus, scrolling,
// a half-typed name and an open disclosure stay. Handlers therefore look at `event.currentTarget` and never at nodes
// of their own making: those may not be the ones on screen.

/** @typedef {Node|string|number|null|undefined|false|Child[]} Child */
/** @typedef {Object<string, string|number|boolean|null|undefined|((event: any) => void)>} Attributes */

const SVG = 'http://www.w3.org/2000/svg';
/** What a person changes on screen, set once and never patched. */
const INITIAL = new Set(['value', 'checked', 'selected']);
/** Attributes that live on screen only. */
const KEPT = new Set(['style', 'open']);

/** @type {WeakMap<Element, Map<string, (event: any) => void>>} */
const handlers = new WeakMap();

/**
 * An element. `tag` may carry classes: `p.note.quiet`. Text goes in as text, never as markup.
 * @param {string} tag
 * @param {Attributes|null} [attributes]
 * @param {...Child} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes, ...children) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElement(name ?? 'div');
  if (classes.length) element.className = classes.join(' ');
  set(element, attributes ?? {});
  append(element, children);
  return element;
}

/**
 * @param {string} name
 * @param {Attributes} attributes
 * @param {...Child} children
 * @returns {SVGElement}
 */
export function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  set(element, attributes);
  append(element, children);
  return /** @type {SVGElement} */ (element);
}

/** @param {Element} element @param {Attributes} attributes */
function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') listen(element, name.slice(2), value);
    else if (name === 'class') element.setAttribute('class', `${element.getAttribute('class') ?? ''} ${value}`.trim());
    else if (INITIAL.has(name)) Reflect.set(element, name, value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
}

/** @param {Element} element @param {string} type @param {(event: any) => void} handler */
function listen(element, type, handler) {
  let known = handlers.get(element);
  if (!known) handlers.set(element, (known = new Map()));
  if (!known.has(type)) element.addEventListener(type, (event) => handlers.get(element)?.get(type)?.(event));
  known.set(type, handler);
}

/** @param {Element} element @param {Child[]} children */
function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/** Makes `old` look and act as `fresh`. @param {Node} old @param {Node} fresh */
export function patch(old, fresh) {
  if (old instanceof Element && fresh instanceof Element) {
    patchAttributes(old, fresh);
    patchHandlers(old, fresh);
    // Whoever says so looks after the inside alone: a camera's picture, say.
    if (!old.hasAttribute('data-own')) patchChildren(old, fresh);
  } else if (old.nodeValue !== fresh.nodeValue) {
    old.nodeValue = fresh.nodeValue;
  }
}

/** @param {Element} old @param {Element} fresh */
function patchAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !KEPT.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !KEPT.has(name)) old.setAttribute(name, value);
  }
}

/** @param {Element} old @param {Element} fresh */
function patchHandlers(old, fresh) {
  const wanted = handlers.get(fresh);
  const had = handlers.get(old);
  for (const type of had?.keys() ?? []) if (!wanted?.has(type)) had?.set(type, () => {});
  for (const [type, handler] of wanted ?? []) listen(old, type, handler);
}

/** @param {Node} node */
const keyOf = (node) => (node instanceof Element ? node.getAttribute('data-key') : null);
/** @param {Node} a @param {Node} b */
const alike = (a, b) => a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

/** @param {Element} old @param {Element} fresh */
function patchChildren(old, fresh) {
  const wanted = [...fresh.childNodes];
  const keys = new Set(wanted.map(keyOf));
  for (const child of [...old.childNodes]) {
    const key = keyOf(child);
    if (key !== null && !keys.has(key)) child.remove();
  }
  const keyed = new Map([...old.childNodes].flatMap((child) => (keyOf(child) === null ? [] : [[keyOf(child), child]])));
  /** @type {ChildNode|null} */
  let at = old.firstChild;
  for (const child of wanted) {
    const key = keyOf(child);
    const match = key === null ? (at && alike(at, child) ? at : null) : keyed.get(key);
    if (!match || match.nodeName !== child.nodeName) {
      old.insertBefore(child, at);
    } else {
      if (match === at) at = at.nextSibling;
      else old.insertBefore(match, at);
      patch(match, child);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
