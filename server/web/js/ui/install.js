// What this browser is, the service worker, and putting the app on the home screen.

/** @typedef {Event & {prompt(): Promise<unknown>}} InstallPrompt */

/** @type {InstallPrompt|undefined} */
let offered;

addEventListener('beforeinstallprompt', (event) => {
  event.preventDefault();
  offered = /** @type {InstallPrompt} */ (event);
});
addEventListener('appinstalled', () => { offered = undefined; });

/** Whether the browser would install the app now. */
export const canInstall = () => offered !== undefined;

/** Asks the browser to install the app; it asks the person. */
export async function install() {
  await offered?.prompt();
  offered = undefined;
}

/** Whether the app runs from the home screen. */
export const installed = () => matchMedia('(display-mode: standalone)').matches || Reflect.get(navigator, 'standalone') === true;

/** iPhone or iPad; an iPad says it is a Mac. */
export const isApple = () => /iPhone|iPad|iPod/.test(navigator.userAgent) || (navigator.platform === 'MacIntel' && navigator.maxTouchPoints > 1);

/** On iOS the installed app has its own storage, and only it is rung: pairing elsewhere would be lost. */
export const mustInstall = () => isApple() && !installed();

/** A name for this device, to start from. */
export async function deviceName() {
  /** @type {{platform?: string, getHighEntropyValues?(hints: string[]): Promise<{model?: string}>}|undefined} */
  const data = Reflect.get(navigator, 'userAgentData');
  const model = await data?.getHighEntropyValues?.(['model']).then((values) => values.model, () => '');
  if (model) return model.slice(0, 40);
  if (isApple()) return /iPhone/.test(navigator.userAgent) ? 'iPhone' : 'iPad';
  return [named(['Android', 'Mac', 'Windows', 'Linux']), named(['Firefox', 'Edg', 'Chrome', 'Safari'])].filter(Boolean).join(' ');
}

/** @param {string[]} names */
const named = (names) => names.find((name) => navigator.userAgent.includes(name))?.replace(/^Edg$/, 'Edge');

/** The one place where text becomes a script's address, and the one address. */
const policy = /** @type {{createPolicy(name: string, rules: object): {createScriptURL(url: string): string}}|undefined} */ (Reflect.get(window, 'trustedTypes'))
  ?.createPolicy('countersign', {
    createScriptURL: (/** @type {string} */ url) => {
      if (url !== '/sw.js') throw new TypeError(`no script from ${url}`);
      return url;
    },
  });

/** Registers the service worker; the app works without one, but does not ring. */
export function register() {
  navigator.serviceWorker?.register(policy ? policy.createScriptURL('/sw.js') : '/sw.js', { type: 'module', scope: '/' })
    .catch((error) => console.error('service worker', error));
}
