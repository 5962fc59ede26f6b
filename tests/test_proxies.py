"""The recipes of the administrator's guide for Caddy and nginx, word for word, with real parts behind them."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from lab import paths, tls
from lab.approver import Approver
from lab.daemon import Daemon
from lab.pebble import Pebble
from lab.process import Process, accepts, wait_until
from lab.ssh import Client
from lab.sshd import Sshd

GUIDE = (paths.REPOSITORY / "docs" / "admin-guide.md").read_text()
NAME, APP = "push.example.com", "approve.example.com"
ORIGIN = f"https://{NAME}"
# As the recipes say it. Loopback is the tests' own, so the ports are free.
DIRECT = 8443
PASSWORD = "alice-password"


def recipe(language, place):
    """The block of the guide that belongs into the file `place`."""
    blocks = re.findall(rf"^```{language}\n(# {re.escape(place)}\n.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1, f"{place} is not once in the guide"
    return blocks[0]


@pytest.fixture
def names(clean):
    """Makes the names lead here."""
    hosts = Path("/etc/hosts")
    before = hosts.read_text()
    hosts.write_text(f"{before}127.0.0.1 {NAME} {APP}\n")
    yield
    hosts.write_text(before)


def start_server(directory, more=""):
    config = directory / "server.toml"
    config.write_text(recipe("toml", "/etc/countersign/server.toml") + more)
    argv = [paths.SERVER, "--config", config, "serve", "--database", directory / "server.db"]
    Process("countersign-server", argv, directory / "server.log").wait_for("listening on ")


def start_caddy(directory, site):
    """Caddy with a site, and certificates from pebble instead of Let's Encrypt; returns the root to believe."""
    pebble = Pebble(directory / "pebble").start()
    (directory / "site").write_text(site)
    config = directory / "Caddyfile"
    config.write_text(
        f"{{\n\tadmin off\n\tacme_ca {pebble.url}\n\tacme_ca_root {pebble.ca}\n"
        f"\tstorage file_system {directory}/caddy\n}}\nimport {directory}/site\n"
    )
    argv = ["caddy", "run", "--adapter", "caddyfile", "--config", config]
    Process("caddy", argv, directory / "caddy.log").wait_for("certificate obtained successfully", 30)
    return pebble.root()


def start_nginx(directory, site, certificate_place, key_place, name):
    """nginx with a site, and a certificate where it is looked for; returns the root to believe."""
    certificate, key, ca = tls.make(directory / "tls", f"DNS:{name}")
    for file, place in ((certificate, certificate_place), (key, key_place)):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    (directory / "site").write_text(site)
    config = directory / "nginx.conf"
    config.write_text(
        f"daemon off;\nuser root;\npid {directory}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\n\tinclude /etc/nginx/mime.types;\n\taccess_log off;\n\tinclude {directory}/site;\n}}\n"
    )
    nginx = Process("nginx", ["nginx", "-c", config, "-e", "stderr"], directory / "nginx.log")
    wait_until(lambda: not nginx.alive() or accepts(443), 5, "nginx listens")
    assert nginx.alive(), nginx.log()
    return ca


@pytest.fixture(params=["caddy", "nginx"])
def proxy(request, tmp_path, names):
    """Starts a proxy as the guide says; returns the root to believe."""
    if request.param == "caddy":
        return start_caddy(tmp_path, recipe("caddy", "/etc/caddy/Caddyfile"))
    site = recipe("nginx", "/etc/nginx/conf.d/countersign.conf")
    live = f"/etc/letsencrypt/live/{NAME}"
    return start_nginx(tmp_path, site, f"{live}/fullchain.pem", f"{live}/privkey.pem", NAME)


def curl(root, url, *options):
    """The status, the headers (lower case) and the body."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--include", "--cacert", root, "--max-time", "10", *options, url],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    status, *lines = head.splitlines()
    return int(status.split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}, body


def metrics(directory):
    return curl("/dev/null", f"http://127.0.0.1:{DIRECT}/metrics")[2]


def test_hosts_and_phones_work_through_it_at_once(proxy, tmp_path):
    start_server(tmp_path)
    token = subprocess.run(
        [paths.SERVER, "token", "--quiet", "--database", tmp_path / "server.db"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    daemon = Daemon(tmp_path / "daemon", ORIGIN, ca=proxy).start()
    daemon.join(token)
    phone = Approver(tmp_path / "phone", server_ca=proxy).pair("alice")
    try:
        login = Client(tmp_path / "client", Sshd(tmp_path / "sshd")).login("alice", "id", "-un")
        login.answer_password(PASSWORD)
        asked = time.monotonic()
        request = phone.next_request(seconds=3)
        assert request["seen"] - asked < 2
        login.answer_code(phone.approve(request))
        assert login.finish() == 0
        assert login.lines()[-1] == "alice"
        assert phone.wait_closed(request)["outcome"] == "approved"
        # By streams. Were they held back, both would have gone over to asking again and again.
        text = metrics(tmp_path)
        assert "\ncountersign_streams_open 2\n" in text
        assert 'route="/v1/poll"' not in text
    finally:
        phone.stop()


def test_the_page_comes_through_as_the_server_sends_it(proxy, tmp_path):
    start_server(tmp_path)
    for path in ("/", "/pair", "/app.webmanifest", "/js/ui/main.js"):
        status, headers, body = curl(proxy, ORIGIN + path)
        direct_status, direct, direct_body = curl(proxy, f"http://127.0.0.1:{DIRECT}{path}")
        assert (status, body) == (direct_status, direct_body) and status == 200
        own = ("date", "server", "connection", "keep-alive", "content-length", "transfer-encoding", "alt-svc")
        for name in own:
            headers.pop(name, None), direct.pop(name, None)
        assert headers == direct
        assert "strict-transport-security" in headers


def test_callers_are_known_by_their_own_address_whatever_they_claim(proxy, tmp_path):
    start_server(tmp_path, "\n[limits]\naddress_rate = 1\n")

    def call(address, *options):
        return curl(proxy, f"{ORIGIN}/v1/poll", "--interface", address, *options)[0]

    def used_up():
        return call("127.0.0.2", "--header", f"X-Forwarded-For: 192.0.2.{time.monotonic_ns() % 250}") == 429

    assert call("127.0.0.2") == 401
    wait_until(used_up, 20, "the address has called too often", interval=0)
    assert call("127.0.0.3") == 401


def exported(tmp_path, heading):
    """Writes the app for its own origin; returns a site of its headers.txt."""
    app = tmp_path / "app"
    subprocess.run([paths.SERVER, "web-export", app, "--server", ORIGIN], check=True, capture_output=True)
    sites = re.split(r"^# (.*)\n", (app / "headers.txt").read_text(), flags=re.MULTILINE)
    return next(site for title, site in zip(sites[1::2], sites[2::2]) if title.startswith(heading))


@pytest.fixture(params=["Caddy", "nginx"])
def hosted(request, tmp_path, names):
    """Starts a web server with the exported app as its headers.txt says; returns the root to believe."""
    site = exported(tmp_path, request.param)
    if request.param == "Caddy":
        return start_caddy(tmp_path, site)
    return start_nginx(tmp_path, site, f"/etc/ssl/{APP}.pem", f"/etc/ssl/{APP}.key", APP)


def test_the_exported_app_is_served_as_the_server_would(hosted, tmp_path):
    start_server(tmp_path)
    alike = ("x-content-type-options", "referrer-policy", "permissions-policy", "cross-origin-opener-policy",
             "cross-origin-resource-policy", "strict-transport-security", "cache-control")  # fmt: skip
    for path in ("/", "/pair", "/app.webmanifest", "/js/ui/main.js", "/styles/app.css", "/icons/icon.svg"):
        status, headers, body = curl(hosted, f"https://{APP}{path}")
        _, direct, direct_body = curl(hosted, f"http://127.0.0.1:{DIRECT}{path}")
        assert status == 200, path
        assert {name: headers.get(name) for name in alike} == {name: direct[name] for name in alike}, path
        policy = direct["content-security-policy"].replace("connect-src 'self'", f"connect-src 'self' {ORIGIN}")
        assert headers["content-security-policy"] == policy
        kinds = {"application/javascript": "text/javascript"}
        kind, direct_kind = (all["content-type"].split(";")[0] for all in (headers, direct))
        assert kinds.get(kind, kind) == direct_kind, path
        if path in ("/", "/pair"):
            assert f'<meta name="countersign-server" content="{ORIGIN}">' in body
        else:
            assert body == direct_body
