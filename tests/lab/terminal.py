"""Programs on a terminal: ssh, sudo and su, typed into as a person would."""

import re
import signal

import pexpect

from . import accounts

PASSWORD = r"[Pp]assword[^\r\n]*: ?$"
# Our prompts: the first one, the one after an approval, and the one after a wrong code.
CODE = r"(?:type its code|the code that your phone shows|left\. Code): ?$"
# The reason of an end, where the program shows nothing but prompts.
ACKNOWLEDGE = r"Press Enter: ?$"

# Everything that was started, so that nothing outlives its test.
OPEN = []


def takes_interrupts():
    """As a person's terminal has it. Whatever a shell has started in the background ignores Ctrl-C, and so would this."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, argv, timeout=10, size=(24, 80)):
        self.child = pexpect.spawn(
            argv[0], [str(word) for word in argv[1:]], encoding="utf-8", timeout=timeout, dimensions=size,
            preexec_fn=takes_interrupts,
        )  # fmt: skip
        self.child.delaybeforesend = None
        self.text = ""
        self.is_interrupted = False
        OPEN.append(self)

    def expect(self, *patterns, timeout=-1):
        """Waits for one of the patterns; returns its number. Says what came instead."""
        try:
            index = self.child.expect(list(patterns), timeout=timeout)
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            kind = "waited too long for" if isinstance(error, pexpect.TIMEOUT) else "ended before"
            raise AssertionError(f"{kind} {patterns}; on the screen:\n{self.text}{self.child.before}") from None
        self.text += self.child.before + (self.child.after if isinstance(self.child.after, str) else "")
        return index

    def send(self, line):
        self.child.sendline(line)

    def answer_password(self, password):
        self.expect(PASSWORD)
        self.send(password)

    def answer_code(self, code, timeout=-1):
        self.expect(CODE, timeout=timeout)
        self.send(code)

    def interrupt(self):
        self.child.sendintr()
        self.is_interrupted = True

    def give_up(self, timeout=10):
        """What a person does whom sudo refuses: Enter below the reason, Ctrl-C where the password is asked for anew. Only
        there: between two prompts sudo takes no notice of Ctrl-C. Returns the exit status."""
        while (seen := self.expect(PASSWORD, ACKNOWLEDGE, pexpect.EOF, timeout=timeout)) == 1:
            self.send("")
        if seen == 0:
            self.interrupt()
        return self.finish(timeout)

    def finish(self, timeout=10):
        """Waits for the end; returns the exit status. What was on the screen is in `text`."""
        # sudo looks whether Ctrl-C came, then reads: one between the two goes unheard, and a person presses it again.
        for _ in range(3 if self.is_interrupted else 0):
            if self.child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=2) == 0:
                self.text += self.child.before
                break
            self.child.sendintr()
        self.expect(pexpect.EOF, timeout=timeout)
        self.child.close()
        return self.child.exitstatus if self.child.exitstatus is not None else 128 + self.child.signalstatus

    def kill(self):
        self.child.close(force=True)

    def lines(self):
        return [line for line in re.split(r"[\r\n]+", self.text) if line.strip()]


def on_terminal_of(user, *argv, timeout=10):
    """A program that the user runs on a terminal of their own."""
    return Terminal(accounts.as_user_argv(user, *argv), timeout=timeout)
