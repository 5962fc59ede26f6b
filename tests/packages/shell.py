"""A shell on a terminal, typed into line by line, by somebody who answers what is asked."""

import re

from lab.terminal import Terminal

PROMPT = re.compile(r"lab:(\d+)> $")


class Refused(AssertionError):
    """A typed command failed."""


class Shell:
    """`terminal` shows a shell's prompt, or has shown it."""

    def __init__(self, terminal: Terminal):
        self.terminal = terminal
        # What is typed when something is asked: pairs of a pattern, and text or a function of the match that returns it.
        self.answers = []
        self._greet()

    def _greet(self):
        self.terminal.send("stty -echo cols 200; PS1='lab:$?> '; PS2=; bind 'set enable-bracketed-paste off' 2>/dev/null; true")
        self.terminal.expect(PROMPT.pattern)

    def type(self, line, answers=(), check=True, timeout=40):
        """Types it, answers, and waits for the prompt; returns what was shown. `status` is its exit status then."""
        answers = [*answers, *self.answers]
        patterns = [PROMPT.pattern, *[pattern for pattern, _ in answers]]
        shown = len(self.terminal.text)
        self.terminal.send(line)
        while (seen := self.terminal.expect(*patterns, timeout=timeout)) != 0:
            answer = answers[seen - 1][1]
            self.terminal.send(answer(self.terminal.child.match) if callable(answer) else answer)
        self.status = int(self.terminal.child.match[1])
        text = self.terminal.text[shown:].replace("\r\n", "\n")
        text = text[: text.rfind("lab:")]
        if check and self.status != 0:
            raise Refused(f"{line}: {self.status}\n{text}")
        return text

    def close(self):
        self.terminal.kill()


