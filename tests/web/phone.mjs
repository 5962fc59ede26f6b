// phone.mjs: phones for the tests: Chromium, told what to do by lines of JSON on stdin, answering on stdout.
//
//   {"id": 1, "phone": "a", "do": "goto", "url": "…"}   →   {"id": 1, "value": …} or {"id": 1, "error": "…"}
//   and, unasked, what happens in a phone: {"phone": "a", "event": "request", …}
//
// tests/lab/browser.py is the other side. A phone is a browser context, or, when it has a directory, a browser of its own
// whose profile outlives it.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { chromium } from 'playwright-core';
import encodeQR from 'qr';

const LAUNCH = {
  executablePath: '/usr/bin/chromium',
  // Root in namespaces of its own: Chromium's sandbox cannot be had there, and nothing is to be asked of the network.
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-features=Translate,OptimizationHints,MediaRouter',
  ],
};
const TYPES = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.json': 'application/json', '.html': 'text/html' };
const AXE = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const phones = new Map();
let shared;

// Runs in every page before its own scripts: what must not happen is told, across reloads.
const WATCH = () => {
  addEventListener('securitypolicyviolation', (event) => globalThis.tellTest(
    { event: 'violation', directive: event.effectiveDirective, blocked: event.blockedURI, sample: event.sample },
  ));
};

class Phone {
  constructor(name, options) {
    this.name = name;
    this.options = options;
  }

  async open() {
    const { directory, viewport = { width: 390, height: 844 }, theme = 'light', locale = 'en-US', agent, offline } = this.options;
    const context = {
      viewport, colorScheme: theme, locale, userAgent: agent, offline, permissions: this.options.permissions ?? ['notifications'],
      isMobile: viewport.width < 800, hasTouch: viewport.width < 800, deviceScaleFactor: 1, reducedMotion: this.options.motion,
    };
    if (directory) {
      const args = [...LAUNCH.args, ...(this.options.args ?? [])];
      this.context = await chromium.launchPersistentContext(directory, { ...LAUNCH, args, ...context });
    } else {
      shared ??= await chromium.launch(LAUNCH);
      this.context = await shared.newContext(context);
    }
    this.context.setDefaultTimeout(10_000);
    await this.context.exposeBinding('tellTest', (_, told) => this.tell(told));
    await this.context.addInitScript(WATCH);
    for (const script of this.options.scripts ?? []) await this.context.addInitScript(script);
    this.context.on('request', (request) => this.tell(
      { event: 'request', url: request.url(), method: request.method(), kind: request.resourceType() },
    ));
    this.context.on('requestfinished', (request) => this.finished(request));
    this.context.on('weberror', (error) => this.tell({ event: 'error', text: String(error.error()?.stack ?? error.error()) }));
    this.context.on('console', (message) => this.tell({ event: 'console', kind: message.type(), text: message.text() }));
    this.context.on('dialog', (dialog) => {
      this.tell({ event: 'dialog', text: dialog.message() });
      dialog.dismiss().catch(() => {});
    });
    this.page = this.context.pages()[0] ?? await this.context.newPage();
  }

  tell(told) {
    say({ phone: this.name, ...told });
  }

  async finished(request) {
    // Not for an answer from a cache or a worker: nothing of it travelled.
    try {
      const response = await request.response();
      if (!response || response.fromServiceWorker()) return;
      const sizes = await request.sizes();
      this.tell({
        event: 'answer', url: request.url(), status: response.status(),
        bytes: sizes.responseBodySize + sizes.responseHeadersSize, headers: response.headers(),
      });
    } catch {
      // The page is gone, and with it what is to be told about.
    }
  }

  /** The element meant: {id} (of the page's own names for tests), {role, name}, {label}, {text} or {css}, inside {within}. */
  find({ id, role, name, label, text, css, exact = true, within, nth }) {
    const root = within ? this.find(within) : this.page;
    let found;
    if (id) found = root.getByTestId(id);
    else if (role) found = root.getByRole(role, name === undefined ? {} : { name, exact });
    else if (label) found = root.getByLabel(label, { exact });
    else if (text) found = root.getByText(text, { exact });
    else found = root.locator(css);
    return nth === undefined ? found : found.nth(nth);
  }

  // Through the debugger, so that the page's own policy neither stops it nor is weakened for it.
  evaluate(script, argument) {
    return this.page.evaluate(`(${script})(${JSON.stringify(argument ?? null)})`);
  }
}

const ACTIONS = {
  goto: (phone, { url }) => phone.page.goto(url, { waitUntil: 'load' }).then(() => null),
  reload: (phone) => phone.page.reload({ waitUntil: 'load' }).then(() => null),
  url: (phone) => phone.page.url(),
  newPage: async (phone) => { phone.page = await phone.context.newPage(); },
  evaluate: (phone, { script, argument }) => phone.evaluate(script, argument),
  click: (phone, { target }) => phone.find(target).click(),
  uncheck: (phone, { target }) => phone.find(target).uncheck(),
  fill: (phone, { target, text }) => phone.find(target).fill(text),
  press: (phone, { key }) => phone.page.keyboard.press(key),
  type: (phone, { text }) => phone.page.keyboard.type(text),
  count: (phone, { target }) => phone.find(target).count(),
  visible: async (phone, { target }) => (await phone.find(target).count()) > 0 && phone.find(target).first().isVisible(),
  text: (phone, { target }) => phone.find(target).innerText(),
  files: (phone, { target, files }) => phone.find(target).setInputFiles(files),
  offline: (phone, { on }) => phone.context.setOffline(on),
  theme: (phone, { theme, motion }) => phone.page.emulateMedia({ colorScheme: theme, reducedMotion: motion }),
  size: (phone, { width, height }) => phone.page.setViewportSize({ width, height }),
  screenshot: async (phone, { file, full }) => {
    // No button under the pointer looks pressed.
    await phone.page.mouse.move(0, 0);
    await phone.page.screenshot({ path: file, fullPage: full, animations: 'disabled' });
  },
  content: (phone) => phone.page.evaluate('document.body ? document.body.innerText : ""'),
  workers: (phone) => phone.context.serviceWorkers().map((worker) => worker.url()),
  inWorker: (phone, { script, argument }) =>
    phone.context.serviceWorkers()[0].evaluate(`(${script})(${JSON.stringify(argument ?? null)})`),

  /** Files of a directory at an address that no server has. */
  serve: (phone, { url, directory }) => phone.context.route(`${url}/**`, async (route) => {
    const name = new URL(route.request().url()).pathname.slice(new URL(`${url}/`).pathname.length);
    const file = path.join(directory, path.normalize(`/${name}`));
    const body = await readFile(file).catch(() => null);
    await route.fulfill(body === null ? { status: 404 } : { body, contentType: TYPES[path.extname(file)] ?? 'text/plain' });
  }),
  /** Gives the main document's answer another body, with the headers that it has. */
  replaceBody: (phone, { url, from, to }) => phone.context.route(url, async (route) => {
    const response = await route.fetch();
    const body = (await response.text()).replace(from, to);
    await route.fulfill({ response, body });
  }),
  fulfil: (phone, { url, json }) => phone.context.route(url, (route) => route.fulfill({ json })),
  block: (phone, { url }) => phone.context.route(url, (route) => route.abort()),

  axe: async (phone) => {
    await phone.page.evaluate(AXE);
    return phone.page.evaluate(`axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations.map(
      (one) => ({ id: one.id, impact: one.impact, help: one.help, nodes: one.nodes.map((node) => node.html + ' ' + node.failureSummary) })))`);
  },

  /** A script that every page of this phone runs from now on before its own. */
  script: (phone, { script }) => phone.context.addInitScript(script),
  close: async (phone) => {
    phones.delete(phone.name);
    await phone.context.close();
  },
};

/** A QR code of any bytes, as a picture. */
async function drawQR({ hex, file }) {
  const text = Array.from(Buffer.from(hex, 'hex'), (byte) => String.fromCharCode(byte)).join('');
  const textEncoder = (latin) => Uint8Array.from(latin, (character) => character.charCodeAt(0));
  await writeFile(file, encodeQR(text, 'gif', { encoding: 'byte', ecc: 'low', scale: 8, border: 4, textEncoder }));
}

async function obey({ id, phone: name, do: action, ...rest }) {
  try {
    let value = null;
    if (action === 'open') {
      const phone = new Phone(name, rest);
      await phone.open();
      phones.set(name, phone);
    } else if (action === 'drawQR') {
      await drawQR(rest);
    } else {
      const phone = phones.get(name);
      if (!phone) throw new Error(`no phone ${name}`);
      value = (await ACTIONS[action](phone, rest)) ?? null;
    }
    say({ id, value });
  } catch (error) {
    say({ id, error: String(error?.message ?? error) });
  }
}

for await (const line of createInterface({ input: process.stdin })) obey(JSON.parse(line));
for (const phone of phones.values()) await phone.context.close().catch(() => {});
await shared?.close().catch(() => {});
