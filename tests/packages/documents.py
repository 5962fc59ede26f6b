"""Commands as the documents have them: fenced blocks whose first line names where they are typed.

    ```sh on=host
    countersign status
    ```

A reader sees none of it: only the first word of that line counts for the page. What stands there is typed as it is.
"""

import re

from machine import REPOSITORY

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```\s*$", re.MULTILINE | re.DOTALL)


class Block:
    def __init__(self, info, text, document, number):
        words = info.split()
        self.language = words[0] if words else ""
        self.marks = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        self.text = text
        self.where = f"{document}:{number}"

    @property
    def commands(self):
        """Its lines without comments; a line that ends in a backslash goes on in the next one."""
        joined = self.text.replace("\\\n", " ")
        lines = [re.sub(r"\s+#\s.*$", "", line).rstrip() for line in joined.splitlines()]
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]

    def __repr__(self):
        return self.where


def blocks(document, heading=None):
    """The document's fenced blocks, or those below that heading, up to the next one of its rank."""
    text = (REPOSITORY / document).read_text()
    start, end = 0, len(text)
    if heading:
        found = re.search(rf"^(#+) {re.escape(heading)}\s*$", text, re.MULTILINE)
        assert found, f"{document} has no heading {heading!r}"
        start = found.end()
        following = re.search(rf"^#{{1,{len(found[1])}}} ", text[start:], re.MULTILINE)
        end = start + following.start() if following else end
    return [
        Block(match["info"], match["text"], document, text.count("\n", 0, match.start()) + 1)
        for match in FENCE.finditer(text, start, end)
    ]


def typed_on(document, heading=None):
    """Those that say where they are typed."""
    return [block for block in blocks(document, heading) if "on" in block.marks]
