// Light, dark, or as the system says. A classic script that runs before the first paint, so that nothing flashes.
(() => {
  const KEY = 'countersign.theme';
  const QUERY = '(prefers-color-scheme: dark)';
  const apply = () => {
    const stored = localStorage.getItem(KEY);
    const dark = document.querySelector('link[data-dark]');
    if (dark) dark.setAttribute('media', stored === 'dark' ? 'all' : stored === 'light' ? 'not all' : QUERY);
    for (const meta of document.querySelectorAll('meta[name="theme-color"]')) {
      const is = meta.getAttribute('data-theme');
      meta.setAttribute('media', stored === 'dark' || stored === 'light' ? (is === stored ? 'all' : 'not all') : is === 'dark' ? QUERY : 'all');
    }
  };
  apply();
  addEventListener('countersign-theme', apply);
})();
