// Every page without a server, for developers: `?state=NAME` picks one, nothing lists them. `node serve.mjs` serves it.

import { loadText } from '../../js/text/index.js';
import { run } from '../../js/ui/app.js';
import { FakeEngine } from './engine.js';
import { STATES } from './states.js';

const name = new URLSearchParams(location.search).get('state') ?? '';
const state = STATES[name];
if (state) {
  await loadText();
  const engine = new FakeEngine(state);
  if (state.hash && !location.hash) history.replaceState(null, '', location.pathname + location.search + state.hash);
  if (state.link) history.replaceState(null, '', `/pair${location.search}#1.T.H`);
  Reflect.set(window, 'engine', engine);
  run(engine);
  state.after?.(engine);
} else {
  for (const each of Object.keys(STATES)) {
    const link = document.createElement('a');
    link.href = `?state=${each}`;
    link.textContent = each;
    const line = document.createElement('p');
    line.append(link);
    document.body.append(line);
  }
}
