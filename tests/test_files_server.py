"""countersign-server's files, each spoilt in every way: a line that names the place or a server that works, never a hang."""

import contextlib
import hashlib
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import threading
import time
import urllib.error
from pathlib import Path

import pytest
from lab import tls
from lab.disk import Disk
from lab.members import GONE, PATIENCE, USER, Failed, Members, Packaged
from lab.pebble import Pebble
from lab.process import free_port, wait_until
from lab.spoil import WAYS, spoilt, untouched

ROUNDS = int(os.environ.get("COUNTERSIGN_ROUNDS", "8"))
LEFT = (0, 1, 2, 4, 8, 12, 24)
# Certificates lie behind links wherever a program renews them.
PEM_WAYS = [way for way in WAYS if way != "a link"]
# Whoever fetches certificates may be another user; a key that is theirs alone cannot be read.
CERT_WAYS = [way for way in PEM_WAYS if way != "somebody else's"]
NAME = "push.example.com"


@pytest.fixture
def place(clean):
    """A folder that the server's user can reach."""
    place = Path("/run/lab/relay")
    place.mkdir(mode=0o755)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def server(place):
    return Packaged(place)


def members(server):
    return Members(server, server.directory / "keys")


def certificate(directory, name="IP:127.0.0.1"):
    """Files (certificate, key, ca), of which the server's user may read the key."""
    made = tls.make(directory, name)
    made[1].chmod(0o640)
    shutil.chown(made[1], "root", USER)
    return made


def is_located(told, path, way):
    assert told.startswith(f"{path}: ") or f" {path}: " in told.splitlines()[0], f"{way}: {told}"
    assert len(told.splitlines()[0]) < 400 and told.isprintable() or way == "garbage", f"{way}: {told!r}"


def test_a_configuration_that_is_spoilt_is_no_start(server):
    for way in WAYS:
        with spoilt(server.config, way):
            before = untouched(server.config, way)
            for words in (("serve",), ("token",)):
                done = server.run(*words)
                assert done.returncode == 2, f"{way}: {done}"
                is_located(done.stderr.removeprefix("countersign-server: ").strip(), server.config, way)
            assert untouched(server.config, way) == before
    server.start()


def test_a_configuration_that_ends_too_early_is_told_where_or_is_one(server):
    whole = server.config.read_bytes() + b"behind_proxy = false\n[limits]\nhost_rate = 100\n"
    for length in range(0, len(whole), 3):
        server.config.write_bytes(whole[:length])
        done = server.run("token")
        assert done.returncode in (0, 2, 3), f"{length}: {done}"
        if done.returncode == 2:
            assert done.stderr.startswith(f"countersign-server: {server.config}: "), f"{length}: {done}"
        elif done.returncode == 3:
            # The line with its place is cut off.
            assert "database /var/lib/countersign-server/countersign-server.db: its directory" in done.stderr


def https(place):
    cert, key, ca = certificate(place / "tls")
    server = Packaged(place, tables=f'[tls]\ncertificate = "{cert}"\nkey = "{key}"')
    return server, cert, key, ca


def shows(server, ca, path="/healthz"):
    """Whether it answers over TLS with a certificate of that authority."""
    argv = ["curl", "--silent", "--fail", "--max-time", "5", "--cacert", str(ca), f"https://{server.address}{path}"]
    return subprocess.run(argv, capture_output=True).returncode == 0


def test_a_certificate_that_is_spoilt_is_no_start_and_later_the_good_one_stays(place):
    server, cert, key, ca = https(place)
    for path, ways in ((cert, CERT_WAYS), (key, PEM_WAYS)):
        for way in ways:
            with spoilt(path, way):
                code, told = server.refuses()
                assert code == 4, f"{way}: {told}"
                is_located(told, path, way)
        whole = path.read_bytes()
        for length in (0, 1, 30, len(whole) // 2, len(whole) - 2):
            path.write_bytes(whole[:length])
            code, told = server.refuses()
            assert code == 4 and told.startswith(f"{path}: "), f"{length}: {told}"
        path.write_bytes(whole)
    server.start()
    for path, ways in ((cert, CERT_WAYS), (key, PEM_WAYS)):
        for way in ways:
            before = len(server.said())
            with spoilt(path, way):
                server.hang_up()
                wait_until(lambda: f"the certificate stays as it was: {path}: " in server.said()[before:], 3, way)
                assert shows(server, ca), f"{path}, {way}: the good one stays"
    # As certbot does it: another pair, behind links; as others do, of another user.
    new = certificate(place / "new")
    for path in new[:2]:
        shutil.chown(path, "bob", USER)
    for path, other in zip((cert, key), new, strict=False):
        path.unlink()
        path.symlink_to(other)
    server.hang_up()
    server.process.wait_for("the certificate has been read again")
    assert shows(server, new[2]) and not shows(server, ca)


def test_roots_that_are_spoilt_are_no_start(place):
    ca = tls.make(place / "ca")[2]
    acme = f'domain = ["{NAME}"]\nacme_directory = "https://127.0.0.1:1/dir"\nacme_ca = "{ca}"'
    for server, code in ((Packaged(place / "push", tables=f'[push]\nca = "{ca}"'), 1), (Packaged(place / "acme", acme), 4)):
        for way in PEM_WAYS:
            with spoilt(ca, way):
                found, told = server.refuses()
                assert found == code, f"{way}: {told}"
                is_located(told, ca, way)
        ca.write_text(ca.read_text().replace("MII", "AAA", 1))
        found, told = server.refuses()
        assert found == code and "its certificate 1 is not one" in told and str(ca) in told
        ca.write_text(ca.read_text().replace("AAA", "MII", 1))
        with spoilt(ca, "a link"):
            server.start().stop()


def test_what_lies_in_the_databases_place_is_told_and_left_as_it_is(server):
    """The database, its lock, and what SQLite puts beside it; where such a file's content does not matter, it works."""
    known = members(server)
    server.start()
    known.subscribe()
    server.stop()
    for suffix in ("", "-lock", "-wal", "-shm", "-journal"):
        path = Path(f"{server.database}{suffix}")
        if not path.exists():
            path.touch(0o600)
            shutil.chown(path, USER, USER)
        for way in WAYS:
            with spoilt(path, way):
                before = untouched(path, way)
                if not server.try_start():
                    told = server.said().splitlines()[-1]
                    assert server.process.popen.returncode == 3 and str(path) in told, f"{suffix}, {way}: {told}"
                    assert f"database {server.database}: " in told and "panicked" not in server.said()
                    assert untouched(path, way) == before, f"{suffix}, {way}"
                    continue
                # Of these the content is SQLite's business, or nobody's.
                assert way == "huge" or suffix and way == "garbage", f"{suffix}, {way}: it serves"
                known.check(f"{suffix}, {way}")
                server.stop()
    server.start()
    known.check("all is as it was")


def test_a_database_that_is_damaged_is_told_or_served_without_a_crash(server):
    """Cut anywhere, and bits flipped anywhere: in the database, and in the log that a crash has left beside it."""
    known = members(server)
    server.start()
    for _ in range(3):
        known.subscribe()
        known.join()
        known.register()
    server.kill()
    log = Path(f"{server.database}-wal")
    kept = {path: path.read_bytes() for path in (server.database, log)}
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    counts = {"served": 0, "told": 0}

    def attempt(what):
        """Whether it serves."""
        if server.try_start(10):
            assert server.status("/healthz") == 200 and server.status("/readyz") == 200, what
            with contextlib.suppress(urllib.error.HTTPError):
                for host in known.hosts:
                    known.call(host, "GET", "/v1/devices")
            server.stop()
        else:
            assert server.process.popen.returncode == 3, f"{what}: {server.said()}"
            assert f"database {server.database}: " in server.said(), what
        assert "panicked" not in server.said(), f"{what}: {server.said()}"
        served = "listening on" in server.said()
        counts["served" if served else "told"] += 1
        return served

    def flipped(path, content):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 1, 8, 64))):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)

    def restore(files):
        for path in server.state.glob("server.db-*"):
            path.unlink()
        for path, content in files.items():
            path.write_bytes(content)
            path.chmod(0o600)
            shutil.chown(path, USER, USER)

    for number in range(ROUNDS):
        restore(kept)
        flipped(log, kept[log])
        attempt(f"log, round {number}")
    restore(kept)
    server.start()
    known.check("with its log as it was")
    server.stop()
    whole = {server.database: server.database.read_bytes()}
    for number in range(2 * ROUNDS):
        restore(whole)
        flipped(server.database, whole[server.database])
        attempt(f"round {number}")
    size = len(whole[server.database])
    for length in (0, 1, 2, 99, 100, 512, 4096, size // 2, size - 4096, size - 4095):
        restore({server.database: whole[server.database][:length]})
        # What is empty may be new; that it was not is all there is to say.
        assert attempt(f"{length} of {size} bytes") == (length < 2), f"{length} of {size} bytes"
        assert length > 1 or f"database {server.database}: it was empty" in server.said()
    print(counts)
    assert counts["told"]
    restore(whole)
    server.start()
    known.check("as it was")


def test_a_database_that_is_locked_is_told_and_served_again(server):
    known = members(server)
    server.start()
    known.subscribe()
    tokens = [server.token() for _ in range(4)]

    @contextlib.contextmanager
    def locked():
        with contextlib.closing(sqlite3.connect(server.database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield

    answers = []

    def join(token):
        mine = members(server)
        mine.tokens.append(token)
        try:
            mine.join()
        except urllib.error.HTTPError as error:
            answers.append(error.code)
        except GONE as error:
            answers.append(error)

    def joining():
        calls = [threading.Thread(target=join, args=(token,)) for token in tokens]
        for call in calls:
            call.start()
        time.sleep(0.3)
        return calls

    with locked():
        started = time.monotonic()
        calls = joining()
        assert server.status("/healthz") == 200
        assert server.status("/readyz") == 503
        done = server.run("token", timeout=10)
        assert done.returncode == 3 and "another program keeps it locked" in done.stderr
        for call in calls:
            call.join()
        # Not one after the other: who had to wait for those before is told so.
        assert answers == [503] * 4 and time.monotonic() - started < 8
        assert "another program keeps it locked" in server.said()
        # Nor does it wait for all of them before it stops.
        calls = joining()
        started = time.monotonic()
        assert server.process.stop(seconds=9) == 0, time.monotonic() - started
        for call in calls:
            call.join()
        code, told = server.refuses(10)
        assert code == 3 and "another program keeps it locked" in told and str(server.database) in told
    server.start()
    # No token was used up.
    known.tokens.extend(tokens)
    known.spend()
    known.check("after all of that")
    code, told = server.refuses()
    assert code == 3 and "another countersign-server uses it" in told


def test_another_program_that_looks_at_the_database_takes_nothing_from_it(server):
    """A backup by an SQLite of any age. It used to take the database for unused, and to remove the log of a running server."""
    known = members(server)
    server.start()
    known.subscribe()
    with contextlib.closing(sqlite3.connect(server.database)) as other:
        assert other.execute("SELECT count(*) FROM hosts").fetchone() == (1,)
    known.mint()
    known.join()
    known.register()
    server.kill()
    server.start()
    known.check("after a look and a crash")


def test_root_makes_tokens_beside_and_before_a_server_of_another_user(server):
    def roots_token():
        return subprocess.run(server.argv("token"), capture_output=True, text=True, timeout=PATIENCE)

    known = members(server)
    server.start()
    known.tokens.append(roots_token().stdout.split()[-1])
    server.stop()
    known.tokens.append(roots_token().stdout.split()[-1])
    server.start()
    known.spend()
    server.stop()
    with spoilt(server.database, "somebody else's"):
        done = roots_token()
        assert done.returncode == 3 and f"database {server.database}: it belongs to user " in done.stderr


def test_on_a_full_or_read_only_disk_what_is_acknowledged_is_kept(server):
    known = members(server)
    server.start()
    known.subscribe()
    server.stop()
    disk = Disk(server.state)
    try:
        server.start()
        for leave in LEFT:
            done = {True: 0, False: 0}
            disk.fill(leave)
            for action in known.all() * 2:
                try:
                    action()
                    done[True] += 1
                except urllib.error.HTTPError as error:
                    assert error.code in (500, 503, 507), f"{leave} pages: {error}"
                    done[False] += 1
                except Failed as error:
                    assert str(server.database) in str(error), error
                    done[False] += 1
            assert server.process.alive() and "panicked" not in server.said(), server.said()
            assert done[True] or leave < 8
            if done[False]:
                assert "the disk is full" in server.said(), server.said()
            server.kill()
            # The disk is still full: it serves or says so.
            if server.try_start():
                known.check(f"{leave} pages, still full")
                server.kill()
            else:
                assert server.process.popen.returncode == 3 and str(server.database) in server.said(), server.said()
            disk.empty()
            server.start()
            known.check(f"{leave} pages")
        known.spend()
        server.stop()
        with disk.read_only():
            code, told = server.refuses()
            assert code == 3 and str(server.database) in told and "Read-only file system" in told, told
        server.start()
        known.check("read-only")
    finally:
        server.process.stop()
        disk.unmount()


def test_a_server_that_is_killed_at_any_moment_has_done_what_it_said(server):
    """Tokens, hosts, devices, cards, subscriptions, removals."""
    known = members(server)
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    moment = random.Random(seed)
    server.start()
    answered = 0
    for number in range(ROUNDS):
        killer = threading.Timer(moment.uniform(0, 0.6), server.process.popen.kill)
        killer.start()
        with contextlib.suppress(*GONE):
            while True:
                # More that adds than removes.
                moment.choice(known.all()[: moment.choice((5, 6))])()
                answered += 1
        killer.join()
        server.kill()
        server.start()
        known.check(f"round {number}", latest=10)
    known.spend()
    known.check("all tokens are spent")
    print(f"{answered} answers in {ROUNDS} rounds, {len(known.hosts)} hosts")


def test_an_export_onto_what_is_no_file_is_told(place):
    shutil.chown(place, USER)
    server = Packaged(place / "server")
    words = ("web-export", place / "app", "--server", "https://push.example.com")
    assert server.run(*words).returncode == 0
    for name in ("index.html", "countersign-export.json", "headers.txt"):
        for way in ("a directory", "a pipe", "a socket", "a link to an endless device"):
            with spoilt(place / "app" / name, way):
                done = server.run(*words)
                assert done.returncode == 1 and f"{place}/app/{name}" in done.stderr, f"{name}, {way}: {done}"
    assert server.run(*words).returncode == 0


def acme_server(place, directory="https://127.0.0.1:1/dir", ca=None, port=None):
    settings = f'domain = ["{NAME}"]\nacme_directory = "{directory}"\n' + (f'acme_ca = "{ca}"' if ca else "")
    server = Packaged(place, settings, port=port)
    server.origin = f"https://{server.address}"

    def named(*parts):
        return hashlib.sha256(b"".join(part.encode() + b"\0" for part in parts)).hexdigest()[:16]

    state = server.state / "acme"
    return server, state / f"certificate-{named(directory, NAME)}.pem", state / f"account-{named(directory)}.json"


def keep(path, content):
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(content)
    path.chmod(0o600)
    for file in (path, path.parent):
        shutil.chown(file, USER, USER)


def test_what_acme_keeps_is_told_when_it_is_spoilt_and_the_server_runs(place):
    server, kept, account = acme_server(place)
    cert, key, _ = tls.make(place / "tls", f"DNS:{NAME}")
    keep(kept, key.read_text() + cert.read_text())
    keep(account, '{"not": "an account"}')
    server.start()
    assert "asking" not in server.said(), "the kept certificate is taken"
    server.stop()
    for way in WAYS:
        with spoilt(kept, way):
            server.start()
            server.process.wait_for(f"{kept}: ")
            server.process.wait_for(f"another certificate for {NAME} is asked for")
            # It comes as far as the account, which is no account, and to the authority, which is not there.
            server.process.wait_for(f"{account}: it is damaged; a new account is made")
            server.process.wait_for("the ACME server cannot be reached")
            server.stop()
    kept.unlink()
    for way in WAYS:
        with spoilt(account, way):
            server.start()
            server.process.wait_for("next try in ")
            assert f"{account}: " in server.said(), f"{way}: {server.said()}"
            server.stop()
    state = kept.parent
    changes = {
        "a link": (lambda: state.rename(server.state / "real") and state.symlink_to(server.state / "real"), state.unlink),
        "a pipe": (lambda: state.rename(server.state / "real") and os.mkfifo(state), state.unlink),
        "somebody else's": (lambda: shutil.chown(state, "bob"), lambda: shutil.chown(state, USER)),
    }
    for way, (spoil, back) in changes.items():
        spoil()
        code, told = server.refuses()
        assert code == 4 and told.startswith(f"{state}: "), f"{way}: {told}"
        back()
        if not state.exists():
            (server.state / "real").rename(state)
    state.chmod(0o777)
    server.start()
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_a_new_certificate_takes_the_place_of_whatever_lies_there(place):
    port = free_port()
    pebble = Pebble(place / "pebble", tls_port=port).start()
    server, kept, _ = acme_server(place / "server", pebble.url, pebble.ca, port)
    for way in ("a pipe", "a link", "writable by everybody"):
        keep(kept, "a certificate once")
        # Left by a crash, or put there by somebody.
        os.mkfifo(f"{kept}.new")
        elsewhere = kept.with_name(kept.name + ".real")
        with spoilt(kept, way):
            server.start()
            server.process.wait_for("a new certificate", 20)
            wait_until(lambda: kept.is_file() and not kept.is_symlink() and "PRIVATE" in kept.read_text(), 5, way)
            assert stat.S_IMODE(kept.stat().st_mode) == 0o600
            assert not elsewhere.exists() or elsewhere.read_text() == "a certificate once"
            server.stop()
