// As much of a document as drawing a page takes: a tree of elements with attributes, texts and handlers.

class TestNode {
  parent = null;
}

class Text extends TestNode {
  constructor(text) {
    super();
    this.textContent = text;
  }
}

class TestElement extends TestNode {
  childNodes = [];
  handlers = new Map();
  #attributes = new Map();

  constructor(name) {
    super();
    this.nodeName = name;
    this.dataset = new Proxy({}, { set: (_, key, value) => this.setAttribute(`data-${key}`, value) ?? true });
  }

  set className(value) {
    this.setAttribute('class', value);
  }

  getAttribute(name) {
    return this.#attributes.get(name) ?? null;
  }

  setAttribute(name, value) {
    this.#attributes.set(name, String(value));
  }

  append(...children) {
    for (const child of children) {
      const node = child instanceof TestNode ? child : new Text(child);
      node.parent = this;
      this.childNodes.push(node);
    }
  }

  addEventListener(type, handler) {
    this.handlers.set(type, handler);
  }

  showModal() {}

  close(value) {
    this.returnValue = value;
    this.handlers.get('close')();
  }

  remove() {
    this.parent.childNodes = this.parent.childNodes.filter((node) => node !== this);
  }

  click() {
    return this.handlers.get('click')({ currentTarget: this });
  }

  closest() {
    return null;
  }

  get textContent() {
    return this.childNodes.map((node) => node.textContent).join('');
  }
}

/** Every element with this test id, in order. @param {any} roots a node, or a list of what a page's view gives */
export function all(roots, id) {
  return [roots].flat(Infinity).filter((node) => node instanceof TestElement).flatMap((node) => [
    ...(node.getAttribute('data-testid') === id ? [node] : []), ...all(node.childNodes, id),
  ]);
}

const document = {
  documentElement: {},
  body: new TestElement('body'),
  createElement: (name) => new TestElement(name),
  createElementNS: (_, name) => new TestElement(name),
};
const browser = {
  document, Node: TestNode, Element: TestElement, HTMLElement: TestElement, addEventListener() {},
  window: globalThis, localStorage: { getItem: () => null }, navigator: { languages: ['en'] },
};
for (const [name, value] of Object.entries(browser)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
