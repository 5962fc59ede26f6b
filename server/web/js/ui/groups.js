// Which requests belong side by side.

/** @typedef {import('./types.js').Item} Item */

/** Items that are in each other's way stand together. @param {Item[]} items @returns {Item[][]} */
export function groups(items) {
  /** @type {Item[][]} */
  const out = [];
  const left = new Set(items);
  for (const first of items) {
    if (!left.delete(first)) continue;
    const group = [first];
    for (const item of group) {
      for (const other of [...left]) {
        const meet = item.conflicts.some((c) => c.key === other.key) || other.conflicts.some((c) => c.key === item.key);
        if (meet && left.delete(other)) group.push(other);
      }
    }
    out.push(group);
  }
  return out;
}
