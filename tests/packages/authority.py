"""What the machines take for Let's Encrypt: pebble, behind the name and the path that programs call it by."""

from machine import ADDRESSES, OUTSIDE

from lab import tls
from lab.pebble import Pebble
from lab.process import Process, accepts, wait_until

NAME = "acme-v02.api.letsencrypt.org"
ADDRESSES[NAME] = OUTSIDE

CADDYFILE = """
{{
	admin off
	auto_https off
}}
https://{name} {{
	bind {address}
	tls {certificate} {key}
	rewrite /directory /dir
	reverse_proxy https://127.0.0.1:{port} {{
		transport http {{
			tls_insecure_skip_verify
		}}
	}}
}}
"""


class LetsEncrypt:
    """All names that it looks at lead to `address`."""

    def __init__(self, directory, address):
        self._pebble = Pebble(directory / "pebble").start()
        self._pebble.lead_names_to(address)
        certificate, key, ca = tls.make(directory / "tls", f"DNS:{NAME}")
        config = directory / "Caddyfile"
        config.write_text(
            CADDYFILE.format(name=NAME, address=OUTSIDE, certificate=certificate, key=key, port=self._pebble.port)
        )
        argv = ["caddy", "run", "--adapter", "caddyfile", "--config", config]
        self._front = Process("caddy", argv, directory / "caddy.log", env={"HOME": str(directory)})
        wait_until(lambda: accepts(443, OUTSIDE), 10, f"caddy listens; it said:\n{self._front.log()}")
        # Whom a machine has to trust for all that: of the front's own certificate, and of those that are issued.
        self.roots = (ca, self._pebble.root())

    def stop(self):
        for process in (self._front, self._pebble, self._pebble.dns):
            process.stop()
