"""The app on an origin of its own: the server's operator cannot change it."""

import functools
import http.server
import subprocess
import threading

import pytest
from lab import paths
from lab.pairing import PairingCommand
from lab.phone import Phone
from lab.process import free_port
from lab.terminal import on_terminal_of


class AppSite:
    """A plain web server with the app's files, as `countersign-server web-export` writes them."""

    def __init__(self, directory, port):
        handler = functools.partial(_Handler, directory=str(directory))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".webmanifest": "application/manifest+json"}

    def do_GET(self):
        # The one path of the app that is no file.
        if self.path.split("#")[0] == "/pair":
            self.path = "/"
        super().do_GET()

    def log_message(self, *_):
        pass


class Site:
    """Server without an app, daemon that knows where the app is, and the app elsewhere."""

    def __init__(self, directory, up):
        port = free_port()
        self.app = f"http://localhost:{port}"
        self.stack = up(server={"options": ["--no-web", "--app-origin", self.app]}, host={"app": self.app})
        files = directory / "app"
        subprocess.run([paths.SERVER, "web-export", "--server", self.stack.server.origin, files], check=True, capture_output=True)
        self.site = AppSite(files, port)


@pytest.fixture
def site(tmp_path, up):
    site = Site(tmp_path, up)
    yield site
    site.site.stop()


def test_an_app_on_its_own_origin_pairs_and_approves(site):
    host = PairingCommand("alice")
    phone = Phone(site.app, "own origin")
    try:
        assert host.link.startswith(f"{site.app}/pair#")
        phone.open_link(host.link)
        phone.finish_pairing(host)
    finally:
        host.stop()
    run = on_terminal_of("alice", "sudo", "-k", "echo", "ran", timeout=20)
    run.answer_password("alice-password")
    run.answer_code(phone.approve(phone.next_request()))
    assert run.finish() == 0
    # Code from one place, messages from the other, and nothing else.
    server = site.stack.server.origin
    asked = {told["url"] for told in phone.all("request")}
    assert not [url for url in asked if not url.startswith((f"{site.app}/", f"{server}/v1/", "data:", "blob:"))]
    assert not [url for url in asked if url.startswith(f"{site.app}/v1/")]


def test_a_server_without_an_app_has_none(site):
    phone = Phone(site.stack.server.origin)
    with pytest.raises(AssertionError):
        phone.goto(f"{site.stack.server.origin}/pair")
        phone.wait_for(id="welcome", seconds=1)


def test_another_origin_than_the_configured_one_may_not_call(site):
    """A page of a third party, with everything right but its origin."""
    phone = Phone(site.app)
    phone.do("fulfil", url="http://localhost:1/", json={})
    phone.goto("http://localhost:1/")
    called = phone.evaluate("(url) => fetch(`${url}/v1/app`).then((answer) => answer.status, (error) => error.name)", site.stack.server.origin)
    assert called == "TypeError"
    phone.goto(site.app)
    called = phone.evaluate("(url) => fetch(`${url}/v1/app`).then((answer) => answer.status, (error) => error.name)", site.stack.server.origin)
    assert called == 200
