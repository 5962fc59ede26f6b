"""`make demo AUTO=1`: plays the story alone, prints every step, and exits 0 only if each ended as it must."""

import subprocess
import sys
import time
import traceback
from pathlib import Path

import setup
from lab import challenge, paths
from lab.browser import Browser
from lab.page import close_all
from lab.phone import Phone
from lab.process import RUNNING, wait_until
from lab.terminal import on_terminal_of

USER, PASSWORD = setup.USER, setup.PASSWORD
MISTAKE = """server = "http://127.0.0.1:1"

[[rule]]
name = "everybody"
when = { service = "sshd" }
then = "approve"

[[rule]]
name = "no guests"
when = { service = "sshd", user = "guest-*" }
then = "deny"
"""


class LeftOut(Exception):
    """A step that cannot be played here, and why."""


class Story:
    """The steps, in order. Each is a method whose first line of documentation is what it shows; what it returns is shown, too."""

    def __init__(self):
        setup.host()
        self.stack = setup.stack()
        self.phone = self.stack.approver(USER, "demo-phone")
        self.codes = self.stack.daemon.command("codes", USER, "--recovery")["codes"]
        self.sshd = self.stack.sshd(port=setup.PORT)
        self.client = self.stack.client(self.sshd, USER)

    def ssh(self):
        login = self.client.login(USER, "id", "-un")
        login.answer_password(PASSWORD)
        return login, self.request()

    def request(self):
        """The request that nobody has closed or decided yet."""

        def open_one():
            done = {event["id"] for event in self.phone.all("closed") + self.phone.all("decided")}
            waiting = [request for request in self.phone.requests() if request["id"] not in done]
            return waiting[-1] if waiting else None

        return wait_until(open_one, 10, "a request on the device")

    def approve_and_code(self):
        """ssh: approved on the device, its code typed: in"""
        login, request = self.ssh()
        login.answer_code(self.phone.approve(request))
        assert login.finish() == 0, login.text
        assert login.lines()[-1] == USER

    def wrong_code(self):
        """ssh: approved, but three wrong codes typed: refused"""
        login, request = self.ssh()
        code = self.phone.approve(request)
        for _ in range(3):
            login.answer_code(f"{(int(code) + 1) % 1_000_000:06d}")
        assert login.finish() == 255, login.text

    def deny(self):
        """ssh: denied on the device: refused"""
        login, request = self.ssh()
        self.phone.decide(request, "deny")
        login.answer_code("")
        assert login.finish() == 255, login.text

    def expiry(self):
        """ssh: nobody decides, and nobody after ringing again: refused when the time is over"""
        self.reconfigure(wait="5s")
        try:
            login, _ = self.ssh()
            for _ in range(2):
                request = self.request()
                closed = self.phone.wait_closed(request, seconds=9)
                # By the device's own clock: whoever still has to look for a recovery code may, so that the host is silent.
                assert closed["outcome"] in (None, "expired"), closed
                login.answer_code("")
            assert login.finish() == 255, login.text
        finally:
            self.reconfigure()

    def hang_up(self):
        """ssh killed while it waits: the prompt leaves the device within a second"""
        login, request = self.ssh()
        killed = time.monotonic()
        login.kill()
        closed = self.phone.wait_closed(request)
        assert closed["outcome"] == "withdrawn"
        assert closed["seen"] - killed < 1, f"{closed['seen'] - killed:.1f} s"

    def key_and_tap(self):
        """ssh with a key alone (BatchMode): one tap: in"""
        running = self.client.start(USER, "id", "-un")
        self.phone.approve(self.request())
        out, err = running.communicate(timeout=10)
        assert (running.returncode, out) == (0, f"{USER}\n"), err

    def sudo(self):
        """sudo: approved, its code typed: root"""
        run = on_terminal_of(USER, "sudo", "-k", "id", "-u")
        run.answer_password(PASSWORD)
        run.answer_code(self.phone.approve(self.request()))
        assert run.finish() == 0, run.text
        assert run.lines()[-1] == "0"

    def web_phone(self):
        """a browser is paired by link and code, rings, approves an ssh: in"""
        missing = Browser.missing()
        if missing:
            raise LeftOut(f"{missing} is not there")
        phone = Phone(self.stack.server.origin, "browser").pair(USER)
        login = self.client.login(USER, "id", "-un")
        login.answer_password(PASSWORD)
        login.answer_code(phone.approve(phone.next_request()))
        assert login.finish() == 0, login.text
        assert login.lines()[-1] == USER
        close_all()

    def lease(self):
        """scp with a key: approved with a lease: in; rsync and scp after that ask nobody"""
        self.reconfigure(lease="8h")
        source = Path("/run/lab/demo/sent")
        source.write_text("sent\n")
        ssh = ["ssh", *self.client.options("publickey", batch=True)]
        copies = [
            ["scp", *ssh[1:], str(source), f"{USER}@127.0.0.1:one"],
            ["rsync", "-e", " ".join(ssh), str(source), f"{USER}@127.0.0.1:two"],
            ["scp", *ssh[1:], f"{USER}@127.0.0.1:two", "/run/lab/demo/back"],
        ]
        first = subprocess.Popen(copies[0])
        self.phone.send(f"a {self.request()['id']} 8h")
        assert first.wait(15) == 0
        asked = len(self.phone.requests())
        for copy in copies[1:]:
            assert subprocess.run(copy, timeout=15).returncode == 0, copy
        assert len(self.phone.requests()) == asked, "nobody was asked"
        assert Path("/run/lab/demo/back").read_text() == "sent\n"
        text = self.countersign("leases")
        self.countersign("leases", "--end", "all")
        self.reconfigure()
        return text

    def two_people(self):
        """sudo that two people on call have to approve: both codes typed: root"""
        for words in (["groupadd", "oncall"], ["usermod", "-aG", "oncall", "alice"], ["usermod", "-aG", "oncall", "bob"]):
            subprocess.run(words, check=True)
        self.reconfigure(approvals={"from": ["@oncall"], "needed": 2}, codes=[], offline=[])
        people = [self.stack.approver(name) for name in ("alice", "bob")]
        run = on_terminal_of(USER, "sudo", "-k", "id", "-u")
        run.answer_password(PASSWORD)
        for person in people:
            run.expect(r"of (?:one of them|the next one): ?$")
            run.send(person.approve(person.next_request()))
        assert run.finish() == 0, run.text
        assert run.lines()[-1] == "0"
        for person in people:
            person.stop()
        self.reconfigure()

    def mistake(self):
        """a rule that can never match: `countersign policy check` says so before anybody relies on it"""
        policy = Path("/run/lab/demo/mistake.toml")
        policy.write_text(MISTAKE)
        return self.countersign("policy", "check", "--config", policy, status=1)

    def observe(self):
        """observe mode: denied on the device and in all the same; the report says who would not have been"""
        self.reconfigure(then="observe")
        login, request = self.ssh()
        self.phone.decide(request, "deny")
        login.answer_code("")
        assert login.finish() == 0, login.text
        text = self.countersign("audit", "observed")
        self.reconfigure()
        return text

    def network_cut(self):
        """the network is cut: the terminal shows a QR code, the phone makes eight digits of it on its own: in"""
        self.reconfigure(offline=["phone-code", "recovery"])
        self.phone.stop()
        self.stack.server.stop()
        wait_until(lambda: not self.stack.daemon.status()["connected"], 10, "the daemon notices")
        login = self.client.login(USER, "id", "-un")
        login.answer_password(PASSWORD)
        login.expect(challenge.ABOVE)
        above = len(login.text)
        login.expect(challenge.BELOW)
        scanned, rows = challenge.scan(login.text[above:], Path("/run/lab/demo"))
        login.send(challenge.code(self.phone, scanned))
        assert login.finish() == 0, login.text
        assert login.lines()[-1] == USER
        self.stack.server.start()
        wait_until(lambda: self.stack.daemon.status()["connected"], 20, "the daemon has found the server again")
        self.phone.start()
        self.reconfigure()
        return "\n".join(rows)

    def recovery_code(self):
        """the server is down: a recovery code: in"""
        self.stack.server.stop()
        login = self.client.login(USER, "id", "-un")
        login.answer_password(PASSWORD)
        login.expect(r": ?$")
        login.send(self.codes[0])
        assert login.finish() == 0, login.text
        assert login.lines()[-1] == USER

    def no_daemon(self):
        """the daemon is down: refused, by password and by key"""
        self.stack.daemon.stop()
        login = self.client.login(USER, "id", "-un")
        login.answer_password(PASSWORD)
        assert login.finish() == 255, login.text
        done = self.client.batch(USER, "id", "-un")
        assert done.returncode == 254, done
        assert USER not in done.stdout.splitlines()

    def break_glass(self):
        """and still the break-glass account gets in"""
        login = self.client.login("rescue", "id", "-un")
        login.answer_password(setup.accounts.PASSWORDS["rescue"])
        assert login.finish() == 0, login.text
        assert login.lines()[-1] == "rescue"

    def countersign(self, *words, status=0):
        """What the command prints."""
        done = subprocess.run([str(word) for word in (paths.COMMAND, *words)], capture_output=True, text=True, timeout=20)
        assert done.returncode == status, f"countersign {words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.rstrip()

    def reconfigure(self, **settings):
        self.stack.daemon.configure(**{"wait": "60s", "offline": ["recovery"], **settings})
        self.stack.daemon.reload()
        time.sleep(0.3)

    STEPS = (
        approve_and_code, wrong_code, deny, expiry, hang_up, key_and_tap, sudo, web_phone, lease, two_people, mistake,
        observe, network_cut, recovery_code, no_daemon, break_glass,
    )  # fmt: skip


def main():
    print("Countersign in a private lab: a server, the daemon, sshd on 127.0.0.1:2222, and a device paired for demo.")
    story = Story()
    failed = 0
    for number, step in enumerate(Story.STEPS, 1):
        started = time.monotonic()
        try:
            # What a step denies or leaves alone is not held against the next one.
            if story.stack.daemon.process.alive():
                story.countersign("unblock", "--all")
            mark, more = "✔", step(story)
        except LeftOut as why:
            mark, more = "–", f"left out, {why}"
        except Exception:  # A step that fails in any way is told, and the story goes on.
            mark, more = "✘", traceback.format_exc(limit=-1)
            failed += 1
        print(f"{mark} {number:2} {step.__doc__}  ({time.monotonic() - started:.1f} s)", flush=True)
        if more:
            print("     " + more.replace("\n", "\n     "), flush=True)
    if failed:
        for running in RUNNING:
            print(f"--- {running.name} said:\n{running.log()[-3000:]}")
    story.stack.stop()
    Browser.end()
    for running in list(RUNNING):
        running.stop()
    print(f"{len(Story.STEPS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
