"""`countersign approve --plain` on the laptop: the native approver, in the hands of its owner."""

import re
import threading
import time

from lab.approver import Approver


class Device(Approver):
    def __init__(self, directory, laptop, user):
        super().__init__(directory, name="laptop")
        self.user = user
        home = f"/home/{user}/.local/share/lab-approver-{self.home.name}"
        laptop.run("mkdir", "-p", "-m", "700", home, user=user)
        self.command = laptop.argv("countersign", "approve", "--home", home, user=user)
        self._answered = 0
        self._rung = threading.Thread(target=self._answer_tests, daemon=True)
        self._rung.start()

    def _answer_tests(self):
        """A ring that tries the device, after a pairing, opens nothing: its owner taps, and goes on."""
        answered = 0
        while True:
            rung = [request for request in self.all("request") if request["kind"] == "test"]
            for request in rung[answered:]:
                self.send(f"a {request['id']}")
            answered = len(rung)
            time.sleep(0.05)

    def requests(self):
        return [request for request in super().requests() if request["kind"] != "test"]

    def pairs(self, match):
        """Opens the link that a terminal shows; returns the code to type there."""
        self.start("--pair", match[1], "--name", self.name)
        return self.wait_for("pairing-code")["code"]

    def yes(self, _match=None):
        """Approves what comes next; returns the code to type."""
        return self._answer("approve").get("code")

    def yes_for(self, time):
        """Approves what comes next, and all of its kind for that time."""
        request = self.next_request(after=self._answered, seconds=20)
        self._answered += 1
        self.send(f"a {request['id']} {time}")
        self.wait_for("decided", id=request["id"])

    def no(self, _match=None):
        self._answer("deny")
        return ""

    def _answer(self, answer):
        request = self.next_request(after=self._answered, seconds=20)
        self._answered += 1
        return self.decide(request, answer)

    def waits(self, confirm):
        """Whether the next request is there that is answered in this way: "tap" or "code"."""
        return any(request["confirm"] == confirm for request in self.requests()[self._answered : self._answered + 1])

    def skip(self):
        """What has come so far is not for the next yes or no."""
        self._answered = len(self.requests())


LINK = re.compile(r"(https://\S+#\S+)")
