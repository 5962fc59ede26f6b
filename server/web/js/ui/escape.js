// Text from outside as nodes.

import { escape } from '../core/escape.js';
import { h } from './dom.js';

export { escape };

/** Escaped, and its direction kept to itself. @param {string} text @param {string} [tag] */
export const outside = (text, tag = 'bdi') => (tag === 'bdi' ? h('bdi', null, escape(text)) : h(tag, null, h('bdi', null, escape(text))));
