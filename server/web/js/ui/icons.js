// Line drawings, 24 by 24, and the mark: a tick written over the line of a signature.

import { svg } from './dom.js';

/** @type {Record<string, string>} */
const PATHS = {
  inbox: 'M4 13v5.5h16V13M4 13l3-8h10l3 8M4 13h4.5l1.5 2.5h4l1.5-2.5H20',
  scan: 'M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4M8.5 8.500h2.500v2.500H8.500zM13.5 8.500h2M13.5 12h2v3.500M8.5 14v1.500h3',
  machine: 'M4 4.500h16v6H4zM4 13.500h16v6H4zM7.5 7.500h.01M7.5 16.500h.01M11 7.500h5.500M11 16.500h5.5',
  device: 'M7 2.800h10v18.400H7zM10.5 18.300h3',
  history: 'M4.3 9.500A8.2 8.2 0 1 1 3.8 13M4 4.500v5h5M12 7.500V12l3.2 2',
  settings: 'M4 7h9M17.5 7H20M4 17h2.500M11 17h9M13 4.700v4.600h4.500V4.700zM6.5 14.700v4.600H11v-4.600z',
  check: 'M4.5 12.800l5 5L19.5 7',
  cross: 'M6 6l12 12M18 6L6 18',
  alarm: 'M12 3.500l9.3 16.500H2.700zM12 10v4.500M12 17.300h.01',
  offline: 'M3 3l18 18M8.3 15.700a5.2 5.2 0 0 1 6.2-.9M5 12.300a10 10 0 0 1 4.2-2.500M12.5 9.100A10 10 0 0 1 19 12.300M2 9a14.5 14.5 0 0 1 4.5-2.900M10 4.900A14.5 14.5 0 0 1 22 9M12 19.300h.01',
  bell: 'M6 16.500V11a6 6 0 0 1 12 0v5.500l1.5 1.500h-15zM10 20.500h4',
  login: 'M3.5 4.500h17v15h-17zM7 9l3 3-3 3M12.5 15.500H17',
  command: 'M5 6l6 6-6 6M13 18.500h6.5',
  unlock: 'M5.5 10.500h13v10h-13zM8.5 10.500V7a3.5 3.5 0 0 1 6.9-.8M12 14.500v2.5',
  action: 'M12 3l7.5 3v5.500c0 4.7-3.2 7.9-7.5 9.5-4.3-1.6-7.5-4.8-7.5-9.500V6zM12 8.500v4M12 15.500h.01',
  plus: 'M12 5v14M5 12h14',
  camera: 'M3.5 7.500h4l1.5-2.500h6l1.5 2.500h4v11.500h-17zM12 9.800a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.400z',
  image: 'M3.5 4.500h17v15h-17zM3.5 16l5-5 4.5 4.5 2.5-2.5 5 5M15.5 8.500h.01',
  share: 'M12 14.500V3.500M8.5 6.500L12 3l3.5 3.500M8 10H5.500v10.500h13V10H16',
  install: 'M12 3.500v10.500M8 10.500l4 4 4-4M4.5 16v4.500h15V16',
};

/** @param {string} name */
export const icon = (name) => svg('svg', { class: `icon icon-${name}`, viewBox: '0 0 24 24', 'aria-hidden': 'true' }, svg('path', { d: PATHS[name] ?? '' }));

/** The product's mark. */
export const mark = () => svg('svg', { class: 'mark', viewBox: '0 0 32 32', 'aria-hidden': 'true' },
  svg('rect', { width: 32, height: 32, rx: 8 }), svg('path', { class: 'line', d: 'M6.5 23.500h19' }),
  svg('path', { class: 'tick', d: 'M8.5 14.500c2 .8 3.7 3 4.6 6.200C15 14.3 18.6 9.3 24 6.5' }));
