"""What happens to a login of the matrix: what the person does, and what is broken."""

import os
import signal
import threading
import time

from .matrix import SERVICES
from .process import wait_until


class Cause:
    """Something that happens to logins. `title` is for the documentation."""

    def __init__(self, title, answer=None, user="alice", alone=False):
        self.title, self.answer, self.user = title, answer, user
        # Whether each login is played by itself: a person's no is about all that comes from one place, and all that is typed
        # counts together.
        self.alone = alone

    def begin(self, lab):
        """Before the logins."""

    def end(self, lab):
        """After them."""

    def asked(self, lab, person):
        """A request is on the phone."""
        if self.answer:
            person.code = lab.phone.decide(person.request, self.answer).get("code")

    def typed(self, lab, person, prompt):
        """What is typed at a prompt; None hangs up."""
        if self.answer == "approve":
            wait_until(lambda: person.code, 15, f"a code for {person.service}")
            return person.code
        if self.answer:
            wait_until(lambda: person.handled, 15, f"an answer for {person.service}")
        return ""


class WrongCode(Cause):
    def typed(self, lab, person, prompt):
        right = super().typed(lab, person, prompt)
        return f"{(int(right) + 1) % 1_000_000:06d}"


class HangUp(Cause):
    """At the prompt, and where there is none when the phone has rung."""

    def asked(self, lab, person):
        if person.request["confirm"] == "tap":
            person.hung_up = True
            os.kill(person.run.child.pid, signal.SIGHUP)

    def typed(self, lab, person, prompt):
        wait_until(lambda: person.request, 15, f"a request for {person.service}")
        person.hung_up = True
        return None


class Recovery(Cause):
    """Whoever is not asked for a code approves nothing."""

    def typed(self, lab, person, prompt):
        return lab.recovery_code()


class Fault(Cause):
    """Something is wrong with the way to the server. `known`: the daemon has noticed before anybody logs in."""

    def __init__(self, title, fault, known=True, **options):
        super().__init__(title, **options)
        self.fault, self.known = fault, known

    def begin(self, lab):
        getattr(lab.front, self.fault)()
        if self.known:
            self.known_by_now(lab)

    def known_by_now(self, lab):
        """The daemon has noticed, and has tried again, so that it knows what is wrong with a new connection, too."""
        status = lab.stack.daemon.status
        wait_until(lambda: not status()["connected"], 10, f"the daemon notices: {self.title}")

        def settled():
            before = status().get("trouble")
            time.sleep(0.5)
            return before == status().get("trouble")

        wait_until(settled, 10, f"the daemon knows: {self.title}")

    def end(self, lab):
        lab.front.mend()
        # While nobody logs in the daemon takes its time; told to read its policy, it tries.
        lab.stack.daemon.reload()
        lab.connected()


class FaultAndRecovery(Fault):
    typed = Recovery.typed


class Gone(Cause):
    """The server goes while logins wait: all that were begun at once."""

    def asked(self, lab, person):
        if lab.all_asked.wait(15) == 0:
            lab.front.refused()
        # What was wrong first, and what is wrong with the next connection, are two things.
        Fault.known_by_now(self, lab)

    def typed(self, lab, person, prompt):
        wait_until(lambda: person.handled, 30, f"the server is gone for {person.service}")
        return ""

    end = Fault.end


class Stopped(Cause):
    """The daemon does not run."""

    def begin(self, lab):
        lab.stack.daemon.stop()

    def end(self, lab):
        lab.stack.daemon.start()
        lab.connected()


class Misconfigured(Stopped):
    """The daemon was started on a configuration that is none, or anybody's."""

    def __init__(self, title, spoil, mend, **options):
        super().__init__(title, **options)
        self.spoil, self.mend = spoil, mend

    def begin(self, lab):
        super().begin(lab)
        config = lab.stack.daemon.config
        self.spoil(config)
        lab.stack.daemon.start(expect_ready=False)

    def end(self, lab):
        lab.stack.daemon.stop()
        self.mend(lab.stack.daemon.config)
        super().end(lab)


def _nonsense(config):
    config.write_text(config.read_text() + "\nnonsense = true\n")


def _sense(config):
    config.write_text(config.read_text().replace("\nnonsense = true\n", ""))


CAUSES = {
    "approved": Cause("approved on the phone", answer="approve"),
    "wrong code": WrongCode("approved, but other codes are typed", answer="approve"),
    "denied": Cause("denied", answer="deny", alone=True),
    "reported": Cause("reported as somebody else's", answer="report", alone=True),
    "undecided": Cause("nobody answers, also not when it rings again"),
    "hung up": HangUp("the person hangs up"),
    "recovery code": Recovery("a recovery code is typed", alone=True),
    "no device": Cause("the person has no device", user="bob"),
    "unknown": Cause("there is no such user", user="nosuch"),
    "break-glass": Cause("a user of the break-glass group", user="rescue"),
    "refused": Fault("the server's port is closed", "refused"),
    "dropped": Fault("nothing reaches the server, which is not known yet", "dropped", known=False),
    "silent": Fault("the server says nothing any more, which is not known yet", "silent", known=False),
    "error 503": Fault("the server answers with errors", "server_error"),
    "garbage": Fault("what answers is no such server", "garbage"),
    "bad certificate": Fault("the server's certificate is not trusted", "bad_certificate"),
    "refused, recovery code": FaultAndRecovery("the port is closed, and a recovery code is typed", "refused", alone=True),
    "gone": Gone("the server goes while the login waits"),
    "no daemon": Stopped("countersignd does not run"),
    "bad configuration": Misconfigured("countersignd was started on a faulty configuration", _nonsense, _sense),
    "open configuration": Misconfigured(
        "… or on one that others may write", lambda config: config.chmod(0o666), lambda config: config.chmod(0o644)
    ),
}


class Person:
    """Whoever logs in, and what the phone does about it."""

    def __init__(self, lab, cause, service):
        self.lab, self.cause, self.service = lab, cause, service
        self.request = self.code = self.run = None
        self.handled = self.hung_up = False
        self.over = threading.Event()
        self._seen = len(lab.phone.requests())
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._watcher.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self._watcher.join()

    def started(self, run):
        self.run = run

    def types(self, prompt):
        return self.cause.typed(self.lab, self, prompt)

    def _watch(self):
        """Each request of this login that comes, but for the first one under sshd's `password` method, which cannot ask for its
        code: another one takes its place."""
        pam_name = SERVICES[self.service].pam_name
        seen = self._seen
        while not self.over.is_set():
            requests = self.lab.phone.requests()
            for request in requests[seen:]:
                if request["service"] != pam_name or (self.service == "sshd password" and request["confirm"] == "code"):
                    continue
                self.request, self.handled, self.code = request, False, None
                self.cause.asked(self.lab, self)
                self.handled = True
            seen = len(requests)
            time.sleep(0.02)
