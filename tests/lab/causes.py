"""What happens to a login of the matrix: what the person does, and what is broken."""

import os
import signal
import time

from .accounts import PASSWORDS
from .matrix import PROMPT, SERVICES, WENT_ON, play
from .person import Person
from .process import wait_until
from .terminal import on_terminal_of

# No more typed codes of one person are compared at once: each is counted as a wrong one first.
TYPED_AT_ONCE = 5


class Cause:
    """Something that happens to logins. `title` is for the documentation."""

    def __init__(self, title, answer=None, user="alice", at_once=None, beside=False):
        self.title, self.answer, self.user = title, answer, user
        # How many logins are played together, all unless told: all that is typed counts together.
        self.at_once = at_once
        # Whether it is played at once with others that are: different users, and nobody answers. Of those who have no device,
        # or are not there, only a few may wait at once.
        self.beside = beside

    def begin(self, lab):
        """Before the logins."""

    def end(self, lab):
        """After them."""

    def prepare(self, lab, person):
        """Before this login; gives the program where that is running already."""

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

    def over(self, lab, person):
        """After this login."""


class Denied(Cause):
    """Each is denied once all have been asked: after the first no nobody is asked any more."""

    def asked(self, lab, person):
        if not person.waited:
            person.waited = True
            person.all_asked.wait(30)
        super().asked(lab, person)


class Reported(Cause):
    """One after the other: a report is about all that comes from one place."""

    def prepare(self, lab, person):
        assert lab.turn.acquire(timeout=60), f"{person.service} had no turn"
        lab.stack.daemon.command("unblock", "--all")

    def asked(self, lab, person):
        super().asked(lab, person)
        lab.phone.wait_closed(person.request)
        lab.turn.release()


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
        getattr(lab.network, self.fault)()
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
        lab.network.mend()
        # While nobody logs in the daemon takes its time; told to read its policy, it tries.
        lab.stack.daemon.reload()
        lab.connected()


class FaultAndRecovery(Fault):
    typed = Recovery.typed


class Gone(Cause):
    """The server goes while logins wait: all that were begun at once."""

    def asked(self, lab, person):
        if person.all_asked.wait(15) == 0:
            lab.network.refused()
        # What was wrong first, and what is wrong with the next connection, are two things.
        Fault.known_by_now(self, lab)

    def typed(self, lab, person, prompt):
        wait_until(lambda: person.handled, 30, f"the server is gone for {person.service}")
        return ""

    end = Fault.end


class PhoneCode(Cause):
    """The phone has no network, and makes the code of what the terminal shows once that has been asked for."""

    def begin(self, lab):
        lab.phone.stop()

    def end(self, lab):
        lab.connected()

    def typed(self, lab, person, prompt):
        return lab.phone_code(person.run.text) if "eight digits" in prompt else "qr"


class FaultAndPhoneCode(Fault):
    """Nobody has to ask for it then."""

    def begin(self, lab):
        lab.phone.stop()
        super().begin(lab)

    def typed(self, lab, person, prompt):
        return lab.phone_code(person.run.text) if "eight digits" in prompt else ""


class Totp(Cause):
    """An authenticator's code, of a secret that was made for this login, since each opens once: one login after the other."""

    def prepare(self, lab, person):
        if SERVICES[person.service].asks:
            assert lab.turn.acquire(timeout=60), f"{person.service} had no turn"
            person.totp = lab.totp_code(self.user)

    def typed(self, lab, person, prompt):
        return person.totp

    def over(self, lab, person):
        if person.totp:
            lab.turn.release()


class FaultAndTotp(Fault):
    prepare, typed, over = Totp.prepare, Totp.typed, Totp.over


class Long(Fault):
    """All clocks of the daemon are wound on: to it the server has been away for so long. Of a real minute tests/test_offline.py
    knows more."""

    def begin(self, lab):
        daemon = lab.stack.daemon
        daemon.stop()
        daemon.start(windable=True)
        lab.connected()
        super().begin(lab)
        daemon.wind("+61s")

    def end(self, lab):
        daemon = lab.stack.daemon
        daemon.stop()
        daemon.start()
        super().end(lab)


class Lease(Cause):
    """The login before this one, of the same kind, was approved with a lease; for sudo and su on the same terminal."""

    def prepare(self, lab, person):
        before = Person(lab, GRANTING, person.service)
        with before:
            if person.service in ON_ONE_TERMINAL:
                before.prepares()
                run = ON_ONE_TERMINAL[person.service]()
                run.expect(PROMPT)
                run.send(PASSWORDS[self.user])
                run.expect(PROMPT)
                run.send(before.types(""))
                run.expect(r"first\r\n")
                return run
            played = play(lab, person.service, self.user, before)
            assert played.opened, played.screen
        return None

    def end(self, lab):
        lab.stack.daemon.command("leases", "--end", "all")


class FaultAndLease(Lease):
    """All that were begun at once have their leases when the server goes."""

    def __init__(self, title, fault):
        super().__init__(title)
        self.fault = fault

    def prepare(self, lab, person):
        run = super().prepare(lab, person)
        if person.all_asked.wait(60) == 0:
            getattr(lab.network, self.fault)()
        Fault.known_by_now(self, lab)
        return run

    def end(self, lab):
        super().end(lab)
        Fault.end(self, lab)


class Granting(Cause):
    """Approves, with the lease that may be granted."""

    def asked(self, lab, person):
        lease = " 8h" if person.request.get("lease_max") else ""
        lab.phone.send(f"a {person.request['id']}{lease}")
        person.code = lab.phone.wait_for("decided", id=person.request["id"]).get("code")


class Several(Denied):
    """Alice answers when the phones ring first; bob once her code is right, or at once where nothing is typed or he denies."""

    def __init__(self, title, bob=None):
        super().__init__(title, answer="approve")
        self.bob = bob

    def asked(self, lab, person):
        if person.waited:
            return
        super().asked(lab, person)
        if person.request["confirm"] == "tap" or self.bob == "deny":
            self._bob_answers(lab, person)
        if self.bob == "deny":
            # Enter would say how far it is before.
            lab.phone.wait_closed(person.request)

    def _bob_answers(self, lab, person):
        if self.bob:
            phone = lab.phones["bob"]
            wait_until(lambda: phone.all("request", id=person.request["id"]), 15, "bob is asked")
            person.code_of_bob = phone.decide(person.request, self.bob).get("code")

    def typed(self, lab, person, prompt):
        wait_until(lambda: person.handled, 15, f"answers for {person.service}")
        if "of the next one" in prompt and self.bob:
            self._bob_answers(lab, person)
            return person.code_of_bob
        # Nobody answers what is asked again.
        code, person.code = person.code, None
        return code if code and self.bob != "deny" else ""


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


def _twice(first, again):
    user = "alice" if first.startswith("sudo") else "demo"
    return lambda: on_terminal_of(user, "sh", "-c", f"{first} && echo first && {again}", timeout=30)


GRANTING = Granting("approved with a lease", answer="approve")
ON_ONE_TERMINAL = {
    "sudo": _twice("sudo -k true", f"sudo -k echo {WENT_ON}"),
    "su": _twice("su alice -c true", f"su alice -c 'echo {WENT_ON}'"),
}
CAUSES = {
    "approved": Cause("approved on the phone", answer="approve"),
    "wrong code": WrongCode("approved, but other codes are typed", answer="approve"),
    "denied": Denied("denied", answer="deny"),
    "reported": Reported("reported as somebody else's", answer="report"),
    "undecided": Cause("nobody answers, also not when it rings again", beside=True),
    "hung up": HangUp("the person hangs up"),
    "recovery code": Recovery("a recovery code is typed", at_once=TYPED_AT_ONCE),
    "no device": Cause("the person has no device", user="bob", beside=True),
    "unknown": Cause("there is no such user", user="nosuch"),
    "break-glass": Cause("a user of the break-glass group", user="rescue", beside=True),
    "refused": Fault("the server's port is closed", "refused"),
    "nameless": Fault("no name server answers", "nameless"),
    "reset": Fault("connections to the server are reset, which is not known yet", "reset", known=False),
    "dropped": Fault("nothing reaches the server, which is not known yet", "dropped", known=False),
    "unplugged": Fault("the network is unplugged, which is not known yet", "unplugged", known=False),
    "silent": Fault("the server hangs, which is not known yet", "silent", known=False),
    "error 503": Fault("the server answers with errors", "server_error"),
    "garbage": Fault("what answers is no such server", "garbage"),
    "bad certificate": Fault("the server's certificate is not trusted", "bad_certificate"),
    "refused, recovery code": FaultAndRecovery(
        "the port is closed, and a recovery code is typed", "refused", at_once=TYPED_AT_ONCE
    ),
    "refused, phone code": FaultAndPhoneCode(
        "the port is closed, and the code is typed that the phone makes of the QR code", "refused"
    ),
    "phone code": PhoneCode("qr is typed, and then the code that the phone makes of what it shows"),
    "authenticator": Totp("an authenticator's code is typed"),
    "refused, authenticator": FaultAndTotp("the port is closed, and an authenticator's code is typed", "refused"),
    "lease": Lease("the login before was approved with a lease"),
    "refused, lease": FaultAndLease("the same, and the port has been closed since", "refused"),
    "refused for long": Long("the port has been closed for over a minute", "refused"),
    "refused for long, no device": Long("the same, and the person has no device", "refused", user="bob"),
    "two approve": Several("two people approve", bob="approve"),
    "one of two": Several("one of two people approves"),
    "one denies": Several("one of two people approves, the other denies", bob="deny"),
    "gone": Gone("the server goes while the login waits"),
    "no daemon": Stopped("countersignd does not run"),
    "bad configuration": Misconfigured("countersignd was started on a faulty configuration", _nonsense, _sense),
    "open configuration": Misconfigured(
        "… or on one that others may write", lambda config: config.chmod(0o666), lambda config: config.chmod(0o644)
    ),
}
