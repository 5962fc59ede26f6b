"""`countersign-server --domain`: certificates from a real ACME server, and what happens when it is away."""

import json
import signal
import stat
import subprocess
import time

import pytest
from lab import paths, tls
from lab.pebble import Pebble
from lab.process import Process, wait_until

NAME = "push.example.com"
OTHER = "relay.example.com"


class Https:
    """A countersign-server with a domain, where it listens by default: port 443."""

    def __init__(self, directory, pebble, ca=None):
        self.directory = directory / "server"
        self.directory.mkdir()
        self.config = self.directory / "server.toml"
        self.config.write_text(
            f"domain = {json.dumps([NAME, OTHER])}\n"
            f"database = {json.dumps(str(self.directory / 'server.db'))}\n"
            'acme_contact = "admin@example.com"\n'
            f"acme_directory = {json.dumps(pebble.url)}\n"
            f"acme_ca = {json.dumps(str(ca or pebble.ca))}\n"
        )
        self.process = None

    def start(self):
        argv = [paths.SERVER, "--config", self.config, "serve"]
        self.process = Process("countersign-server", argv, self.directory / f"server-{time.monotonic_ns()}.log")
        self.process.wait_for("listening on ")
        return self

    def get(self, root, path="/", name=NAME):
        """Loads a page as a browser would; returns curl's exit status, the body, and the headers."""
        done = subprocess.run(
            ["curl", "--silent", "--cacert", root, "--resolve", f"{name}:443:127.0.0.1", "--max-time", "10",
             "--dump-header", "/dev/stderr", f"https://{name}{path}"],
            capture_output=True, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr.lower()

    def fingerprint(self):
        """Of the certificate that is shown now."""
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", "127.0.0.1:443", "-servername", NAME],
            input="", capture_output=True, text=True, timeout=10,
        )  # fmt: skip
        pem = shown.stdout[shown.stdout.find("-----BEGIN") :]
        out = subprocess.run(
            ["openssl", "x509", "-noout", "-fingerprint", "-sha256"], input=pem, capture_output=True, text=True, check=True
        )
        return out.stdout

    def certificates(self):
        return list((self.directory / "acme").glob("certificate-*.pem"))


@pytest.fixture
def pebble(tmp_path, clean):
    return Pebble(tmp_path / "pebble").start()


def test_a_certificate_is_got_and_the_page_loads_over_it(tmp_path, pebble):
    server = Https(tmp_path, pebble).start()
    server.process.wait_for(f"a new certificate for {NAME}, {OTHER}, good for 89 days", 20)
    assert f"as https://{NAME}:" in server.process.log()
    for name in (NAME, OTHER):
        status, page, headers = server.get(pebble.root(), name=name)
        assert status == 0
        assert "<title>Countersign</title>" in page
        assert "http/2 200" in headers
        assert "strict-transport-security: max-age=" in headers
        assert "content-security-policy: default-src 'none'" in headers
    # A name that is not in the certificate.
    assert server.get(pebble.root(), name="other.example.com")[0] == 60


def test_what_is_kept_is_roots_alone_and_serves_after_a_restart_without_the_authority(tmp_path, pebble):
    server = Https(tmp_path, pebble).start()
    server.process.wait_for("a new certificate", 20)
    root = pebble.root()
    shown = server.fingerprint()
    state = server.directory / "acme"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in state.iterdir())
    pebble.stop()
    server.process.stop()
    server.start()
    assert server.get(root, "/healthz")[:2] == (0, "ok\n")
    assert server.fingerprint() == shown
    assert "asking" not in server.process.log()


def test_a_certificate_is_renewed_in_time_while_connections_go_on(tmp_path, clean):
    pebble = Pebble(tmp_path / "pebble", life=12).start()
    server = Https(tmp_path, pebble).start()
    server.process.wait_for("a new certificate", 20)
    root = pebble.root()
    first = server.fingerprint()
    kept = server.certificates()[0].read_text()
    answers = []

    def renewed():
        answers.append(server.get(root, "/healthz")[0])
        return server.fingerprint() != first

    wait_until(renewed, 12, "another certificate is shown", interval=0.2)
    assert set(answers) == {0}
    assert server.get(root, "/healthz")[0] == 0
    wait_until(lambda: server.certificates()[0].read_text() != kept, 2, "the new one is kept")


def test_without_the_authority_it_says_so_and_tries_again(tmp_path, pebble):
    pebble.stop()
    server = Https(tmp_path, pebble).start()
    server.process.wait_for("next try in 5 s", 10)
    line = next(line for line in server.process.log().splitlines() if "next try" in line)
    assert f"no certificate for {NAME}, {OTHER}: the ACME server cannot be reached: " in line
    assert "Connection refused" in line and "nobody can connect until there is one" in line
    assert server.get(pebble.ca)[0] == 35, "no certificate, no TLS"
    pebble.start()
    server.process.wait_for("a new certificate", 20)
    assert server.get(pebble.root())[0] == 0


def test_sighup_tries_again_at_once(tmp_path, pebble):
    pebble.lead_names_to("192.0.2.1")
    server = Https(tmp_path, pebble).start()
    # Nobody is there.
    server.process.wait_for("next try in 2 minutes", 20)
    line = next(line for line in server.process.log().splitlines() if "next try" in line)
    assert "does not believe that the name leads here" in line and NAME in line and "port 443" in line, line
    pebble.lead_names_to("127.0.0.1")
    server.process.popen.send_signal(signal.SIGHUP)
    server.process.wait_for("a new certificate", 20)


def test_a_failed_renewal_keeps_what_there_is_and_a_forgotten_account_is_made_again(tmp_path, clean):
    pebble = Pebble(tmp_path / "pebble", life=30).start()
    server = Https(tmp_path, pebble).start()
    server.process.wait_for("a new certificate", 20)
    root = pebble.root()
    first = server.fingerprint()
    pebble.stop()
    server.process.wait_for("cannot be renewed", 25)
    line = next(line for line in server.process.log().splitlines() if "cannot be renewed" in line)
    assert "the ACME server cannot be reached" in line and "the present one is good for" in line, line
    assert server.get(root, "/healthz")[0] == 0
    # It comes back, and knows nobody any more.
    pebble.start()
    server.process.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: server.fingerprint() != first, 10, "another certificate is shown")
    assert server.get(pebble.root(), "/healthz")[0] == 0


def test_an_authority_that_shows_another_certificate_is_not_believed(tmp_path, pebble):
    _, _, other_ca = tls.make(tmp_path / "other")
    server = Https(tmp_path, pebble, ca=other_ca).start()
    server.process.wait_for("next try in 5 s", 10)
    assert "the ACME server cannot be reached: invalid peer certificate" in server.process.log()


def test_a_missing_root_file_is_named(tmp_path, pebble):
    server = Https(tmp_path, pebble, ca=tmp_path / "none.pem")
    done = subprocess.run([paths.SERVER, "--config", server.config, "serve"], capture_output=True, text=True, timeout=10)
    assert done.returncode == 4
    assert done.stderr.startswith(f"countersign-server: {tmp_path}/none.pem: "), done.stderr
