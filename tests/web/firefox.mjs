// firefox.mjs: one phone for the tests in Firefox, which really is rung by a push service. It speaks as phone.mjs does, in
// lines of JSON, and knows the few actions that tests of Web Push need. tests/lab/firefox.py is the other side.
import { createInterface } from 'node:readline';
import puppeteer from 'puppeteer-core';

const PREFERENCES = {
  'permissions.default.desktop-notification': 1,
  'dom.push.connection.enabled': true,
  // Nothing is asked of a network.
  'network.connectivity-service.enabled': false,
  'network.captive-portal-service.enabled': false,
};

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
let browser;
let page;
let phone;

const selector = ({ id, css, within }) => {
  const own = id ? `[data-testid="${id}"]` : css;
  return within ? `${selector(within)} ${own}` : own;
};

function watch(opened) {
  opened.on('console', (message) => say({ phone, event: 'console', kind: message.type(), text: message.text() }));
  opened.on('pageerror', (error) => say({ phone, event: 'error', text: String(error.stack ?? error) }));
  opened.on('dialog', (dialog) => {
    say({ phone, event: 'dialog', text: dialog.message() });
    dialog.dismiss().catch(() => {});
  });
}

const ACTIONS = {
  async open({ directory, preferences, viewport = { width: 390, height: 844 } }) {
    browser = await puppeteer.launch({
      browser: 'firefox', executablePath: '/usr/bin/firefox-esr', headless: true, userDataDir: directory,
      extraPrefsFirefox: { ...PREFERENCES, ...preferences },
    });
    page = (await browser.pages())[0] ?? await browser.newPage();
    watch(page);
    await page.setViewport(viewport);
    page.setDefaultTimeout(10_000);
  },
  goto: ({ url }) => page.goto(url, { waitUntil: 'load' }).then(() => null),
  reload: () => page.reload({ waitUntil: 'load' }).then(() => null),
  url: () => page.url(),
  // A page of its own in front of the app's, as when the phone shows something else.
  async cover() {
    const cover = await browser.newPage();
    await cover.goto('about:blank');
    await cover.bringToFront();
  },
  async leave() {
    await page.goto('about:blank');
  },
  /** The pages that are open, by their addresses. */
  pages: async () => (await browser.pages()).map((opened) => opened.url()),
  /** Goes on in the page that was opened last, for example by a notification. */
  async newest() {
    const pages = await browser.pages();
    page = pages[pages.length - 1];
    watch(page);
  },
  evaluate: ({ script, argument }) => page.evaluate(`(${script})(${JSON.stringify(argument ?? null)})`),
  // A button that waits says so to screen readers, not by `disabled`.
  click: ({ target }) => page.locator(`${selector(target)}:not([aria-disabled=true])`).click(),
  fill: ({ target, text }) => page.locator(selector(target)).fill(text),
  count: async ({ target }) => (await page.$$(selector(target))).length,
  visible: async ({ target }) => (await page.$(selector(target)))?.isVisible() ?? false,
  text: ({ target }) => page.$eval(selector(target), (element) => element.innerText),
  content: () => page.evaluate('document.body ? document.body.innerText : ""'),
  close: () => browser.close(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, phone: name, do: action, ...rest } = JSON.parse(line);
  phone = name;
  try {
    say({ id, value: (await ACTIONS[action](rest)) ?? null });
  } catch (error) {
    say({ id, error: String(error?.message ?? error) });
  }
}
await browser?.close().catch(() => {});
process.exit(0);
