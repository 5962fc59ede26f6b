// Where the app starts.
//
// What the browser tests may hold on to (data-testid):
//   page              <main>, with data-page: welcome pair inbox request machines devices history code settings lost unsupported
//   connection        the line about the connection, with data-state: idle connecting live offline refused
//   heading           the page's h1
//   announcer         what a screen reader is told (aria-live)
//   note              the short line at the bottom, after something was done or failed
//   welcome           scan (button), ticket (input), ticket-go (button), ticket-error
//   install-first     how to install on iOS, in place of pairing
//   pairing           data-step: ready sending waiting code confirmed done failed
//     pairing-server, device-name (input), notify (checkbox), pair (button), pairing-code, pairing-machine,
//     pairing-user, pairing-fingerprint, same-name, time-left, pairing-done, fault (data-fault=CODE), pair-again (button),
//     pair-cancel (button), install (button)
//   card              one request, with data-request=KEY, data-phase, data-kind, and when closed data-outcome
//     headline with who, user (when another), machine, service (or in a row); from, service, command, action, terminal, ssh-key, asked-at, time-left,
//     (while cards settle, 700 ms after one came or went, and while signing, the buttons are aria-disabled)
//     (an approval has deny, which takes it back, and report; a card that cannot be drawn has data-unshown, unshown and deny)
//     approve, deny, report, code (text: 6 digits and no space), delivery (data-delivered=true|false), lease (radio inputs, value = seconds,
//     0 = none), leased, outcome, differs (a row that differs in a conflict)
//   conflict          the group of requests that came at once
//   alarm             data-reason; dismiss-alarm
//   news              data-what; news-mine, news-not-mine
//   empty             the inbox when nothing waits
//   machines page     machine (data-machine=ID), machine-name, machine-fingerprint, device (data-device=ID),
//                     remove-device, forget-machine
//   devices page      this-device, name (input), rename, own-fingerprint, persisted (data-persisted), push (data-state),
//                     push-on, push-off, other-device (data-device=ID)
//   history page      entry (data-request=KEY), clear-history
//   code page         scan, photo (file input), challenge, code-approve, phone-code (text: 8 digits and no space),
//                     code-again, fault
//   scanner           the camera's picture; scan-stop
//   settings page     language (select), theme (radio inputs: system light dark), version, start-over
//   lost page         start-over
//   dialog            dialog-yes, dialog-no

import { openEngine } from '../engine/engine.js';
import { loadText } from '../text/index.js';
import { run } from './app.js';

const server = document.querySelector('meta[name="countersign-server"]')?.getAttribute('content') ?? undefined;
const [engine] = await Promise.all([openEngine(server ? { server } : {}), loadText()]);
run(engine);
