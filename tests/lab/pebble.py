"""Pebble, the ACME server of Let's Encrypt for tests, with a DNS in which every name leads to loopback."""

import json
import subprocess
import urllib.request
from pathlib import Path

from . import tls
from .process import Process, accepts, free_port, wait_until


class Pebble:
    """It looks at names at port 443, unless told otherwise; certificates are good for `life` seconds."""

    def __init__(self, directory, life=90 * 24 * 3600, tls_port=443):
        self.directory = Path(directory)
        self.certificate, self.key, self.ca = tls.make(self.directory / "tls", "DNS:localhost,IP:127.0.0.1")
        self.port, self.management = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}/dir"
        self.life = life
        self.tls_port = tls_port
        self.process = None
        self._dns_port, self._dns_management = free_port(), free_port()
        argv = ["pebble-challtestsrv", "-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]
        argv += ["-dns01", f"127.0.0.1:{self._dns_port}", "-management", f"127.0.0.1:{self._dns_management}"]
        self.dns = Process("pebble-challtestsrv", argv, self.directory / "dns.log")
        wait_until(lambda: accepts(self._dns_management), 5, "the DNS for pebble answers")

    def start(self):
        """Starts it, with no memory of accounts and with new roots."""
        config = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(self.certificate),
            "privateKey": str(self.key),
            "httpPort": 80,
            "tlsPort": self.tls_port,
            "certificateValidityPeriod": self.life,
        }
        file = self.directory / "pebble.json"
        file.write_text(json.dumps({"pebble": config}))
        argv = ["pebble", "-config", file, "-dnsserver", f"127.0.0.1:{self._dns_port}"]
        env = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
        self.process = Process("pebble", argv, self.directory / "pebble.log", env=env)
        wait_until(lambda: accepts(self.port) and accepts(self.management), 10, "pebble listens")
        return self

    def stop(self):
        self.process.stop()

    def root(self):
        """A file with the root of what it issues."""
        out = subprocess.run(
            ["curl", "--silent", "--fail", "--cacert", self.ca, f"https://127.0.0.1:{self.management}/roots/0"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        file = self.directory / "root.pem"
        file.write_text(out.stdout)
        return file

    def lead_names_to(self, address):
        """Changes where all names lead."""
        body = json.dumps({"ip": address}).encode()
        url = f"http://127.0.0.1:{self._dns_management}/set-default-ipv4"
        urllib.request.urlopen(urllib.request.Request(url, body), timeout=5).close()
