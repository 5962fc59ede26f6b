"""The protocol's vectors, in a browser: its WebCrypto and the other implementation agree byte by byte."""

from lab import paths
from lab.page import Page

ORIGIN = "http://localhost:1"
VECTORS = paths.REPOSITORY / "protocol" / "vectors"


def test_the_vectors_hold_in_the_browser():
    page = Page()
    page.do("serve", url=f"{ORIGIN}/web", directory=str(paths.REPOSITORY / "server" / "web"))
    page.do("serve", url=f"{ORIGIN}/vectors", directory=str(VECTORS))
    page.goto(f"{ORIGIN}/web/tests/vectors.js")
    results, used = page.evaluate(
        """async () => {
          const { run } = await import('/web/tests/vectors.js');
          const used = new Set();
          const results = await run(async (name) => { used.add(name); return (await fetch(`/vectors/${name}.json`)).json(); });
          return [results, [...used]];
        }"""
    )
    assert [one for one in results if not one["ok"]] == []
    assert sorted(used) == sorted(file.stem for file in VECTORS.glob("*.json"))
