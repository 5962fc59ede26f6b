"""Who logs in in the matrix, and the phone that goes with them."""

import threading
import time

from .matrix import SERVICES


class Person:
    """Whoever logs in, and what the phone does about it. `all_asked` is a barrier of all that log in together."""

    def __init__(self, lab, cause, service, all_asked=None):
        self.lab, self.cause, self.service, self.all_asked = lab, cause, service, all_asked
        self.request = self.code = self.code_of_bob = self.totp = self.run = None
        self.handled = self.hung_up = self.waited = False
        self.over = threading.Event()
        self._seen = 0
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.cause.over(self.lab, self)
        if self._watcher.is_alive():
            self._watcher.join()

    def prepares(self):
        run = self.cause.prepare(self.lab, self)
        self._seen = len(self.lab.phone.requests())
        self._watcher.start()
        return run

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
