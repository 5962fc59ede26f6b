/** Tabs and the service worker tell each other of changes by this name. */
export const CHANNEL = 'countersign';
