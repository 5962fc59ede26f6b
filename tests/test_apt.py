"""apt asks a phone before it changes packages: a real apt and dpkg, on a folder, with a repository of the test's own."""

import hashlib
import pwd
import shutil
import subprocess

import pytest
from lab import paths
from lab.process import wait_until
from lab.repository import FRAGMENT, AptRoot, Repository, run
from lab.terminal import CODE, Terminal

NOT_APPROVED = "Countersign: not approved, so nothing was installed or removed."
WAY_OUT = "If it cannot wait: rm /etc/apt/apt.conf.d/99countersign, do it, and then ln -s "


@pytest.fixture
def repository(tmp_path):
    """`hello` in two versions, and what comes with it."""
    made = Repository(tmp_path / "repository")
    made.add("hello", "2.9-1")
    made.add("hello", "2.10-3")
    made.add("libgreet", "1:1.0-1")
    made.add("greeter", "3", Depends="libgreet")
    made.publish()
    return made


@pytest.fixture
def apt(tmp_path, repository):
    """apt with the hook turned on; hello is there in its old version."""
    made = AptRoot(tmp_path / "root", repository)
    made.apt("install", "hello=2.9-1")
    made.turn_on()
    return made


class Running:
    """apt-get that waits for its phone; nobody sits before it."""

    def __init__(self, apt, *words):
        self.popen = subprocess.Popen(
            apt.argv(*words), env=apt.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def finish(self):
        self.text = self.popen.communicate(timeout=60)[0]
        return self.popen.returncode


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_an_approved_upgrade_at_a_terminal(stack, apt, repository):
    """As `sudo apt-get` has it: sudo names its caller, whose phone is asked; the code is typed though apt has the hook's
    standard input."""
    phone = stack.approver("alice")
    caller = f"SUDO_UID={pwd.getpwnam('alice').pw_uid}"
    screen = Terminal(["env", f"APT_CONFIG={apt.config}", caller, *apt.argv("install", "greeter", "hello")], timeout=20)
    request = phone.next_request()
    assert (request["service"], request["kind"], request["user"], request["requester"]) == ("ask", "action", "root", "alice")
    assert request["action"] == "apt.install"
    assert request["detail"] == "3 packages: install greeter 3, libgreet 1:1.0-1; upgrade hello 2.9-1 -> 2.10-3"
    expected = (
        f"install greeter all 3 from Lab sha256:{sha256(repository.file('greeter', '3'))}\n"
        f"install libgreet all 1:1.0-1 from Lab sha256:{sha256(repository.file('libgreet', '1:1.0-1'))}\n"
        f"upgrade hello all 2.9-1 -> 2.10-3 from Lab sha256:{sha256(repository.file('hello', '2.10-3'))}\n"
    )
    assert request["list"]["sha256"] == hashlib.sha256(expected.encode()).hexdigest()
    assert apt.version("greeter") is None
    screen.answer_code(phone.approve(request))
    assert screen.finish(30) == 0, screen.text
    assert (apt.version("greeter"), apt.version("hello")) == ("3", "2.10-3")


def test_a_no_leaves_everything_as_it_was(stack, apt):
    phone = stack.approver("root")
    before = apt.packages()
    installing = Running(apt, "install", "greeter")
    request = phone.next_request()
    assert request["detail"] == "2 packages: install greeter 3, libgreet 1:1.0-1"
    phone.decide(request, "deny")
    assert installing.finish() == 100
    assert NOT_APPROVED in installing.text and "Denied" in installing.text
    # Who was told no is not told the way around it.
    assert WAY_OUT not in installing.text
    assert apt.packages() == before


def test_nobody_answers(up, apt):
    stack = up(wait="5s")
    phone = stack.approver("root")
    before = apt.packages()
    removing = Running(apt, "remove", "hello")
    request = phone.next_request()
    assert (request["action"], request["detail"]) == ("apt.remove", "hello 2.9-1")
    assert removing.finish() == 100
    assert NOT_APPROVED in removing.text
    assert apt.packages() == before


def test_a_package_that_changes_while_the_phone_rings_is_not_installed(stack, apt):
    phone = stack.approver("root")
    before = apt.packages()
    upgrading = Running(apt, "upgrade")
    request = phone.next_request()
    assert (request["action"], request["detail"]) == ("apt.upgrade", "hello 2.9-1 -> 2.10-3")
    deb = apt.root / "var/cache/apt/archives/hello_2.10-3_all.deb"
    good = deb.read_bytes()
    deb.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    phone.approve(request)
    assert upgrading.finish() == 100
    assert "hello_2.10-3_all.deb is not the file that was approved" in upgrading.text
    assert apt.packages() == before
    deb.write_bytes(good)
    again = Running(apt, "upgrade")
    phone.approve(phone.next_request(after=1))
    assert again.finish() == 0, again.text
    assert apt.version("hello") == "2.10-3"


def test_ctrl_c_takes_the_question_back(stack, apt):
    phone = stack.approver("root")
    before = apt.packages()
    screen = Terminal(["env", f"APT_CONFIG={apt.config}", *apt.argv("upgrade")], timeout=20)
    request = phone.next_request()
    screen.expect(CODE)
    screen.interrupt()
    assert phone.wait_closed(request)["outcome"] == "withdrawn"
    assert screen.finish() != 0
    assert apt.packages() == before


def test_without_the_server_the_offline_rule_decides(up, apt):
    stack = up(codes=[], offline=["recovery"])
    code = stack.daemon.command("codes", "root", "--recovery")["codes"][0]
    stack.approver("root")
    stack.server.stop()
    wait_until(lambda: not stack.daemon.status()["connected"], 10, "the daemon notices")
    before = apt.packages()
    # Nobody there to type anything.
    assert Running(apt, "upgrade").finish() == 100
    assert apt.packages() == before
    screen = Terminal(["env", f"APT_CONFIG={apt.config}", *apt.argv("upgrade")], timeout=20)
    screen.expect(r"Recovery code[^\r\n]*: ?$")
    screen.send(code)
    assert screen.finish(30) == 0, screen.text
    assert apt.version("hello") == "2.10-3"


def test_countersign_itself_is_never_in_its_own_way(tmp_path):
    """With the daemon dead its packages are upgraded and removed; nothing else is, and nothing along with them."""
    repository = Repository(tmp_path / "repository")
    for version in ("1", "2"):
        repository.add("countersign", version)
        repository.add("libpam-countersign", version, Depends=f"countersign (= {version})")
    repository.add("hello")
    repository.publish()
    apt = AptRoot(tmp_path / "root", repository)
    apt.apt("install", "countersign=1", "libpam-countersign=1")
    hook = apt.turn_on()
    before = apt.packages()
    for mixed in (["install", "hello"], ["install", "hello", "countersign"], ["install", "countersign-server", "hello"]):
        assert apt.apt(*mixed, check=False).returncode == 100
    assert apt.packages() == before
    done = apt.apt("install", "countersign", "libpam-countersign")
    assert "Countersign's own packages only, so nobody is asked" in done.stdout + done.stderr
    assert (apt.version("countersign"), apt.version("libpam-countersign")) == ("2", "2")
    apt.apt("install", "countersign=1", "libpam-countersign=1")
    # A file passes from where nobody but root could have put it.
    local = Repository(tmp_path / "local")
    shutil.chown(local.directory, user="alice")
    before = apt.packages()
    refused = apt.apt("install", local.add("countersign-server", "9"), local.add("countersign", "9"), check=False)
    assert refused.returncode == 100
    refused = apt.apt("install", local.add("countersign", "8"), local.add("libpam-countersign", "8"), check=False)
    assert refused.returncode == 100 and apt.packages() == before
    # It says how to mend a machine when nobody can be asked.
    assert WAY_OUT in refused.stderr
    shutil.chown(local.directory, user="root")
    # What a user may mount says itself that all in it is root's.
    stick = tmp_path / "stick"
    stick.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,mode=0755", "stick", stick], check=True)
    try:
        files = [shutil.copy(local.file(name, "8"), stick) for name in ("countersign", "libpam-countersign")]
        refused = apt.apt("install", *files, check=False)
    finally:
        subprocess.run(["umount", stick], check=True)
    assert refused.returncode == 100 and apt.packages() == before
    apt.apt("install", local.file("countersign", "8"), local.file("libpam-countersign", "8"))
    assert apt.version("countersign") == "8"
    apt.apt("purge", "countersign", "libpam-countersign")
    assert apt.version("countersign") is None
    # To install it anew is asked about, like whatever else is called so.
    assert apt.apt("install", "countersign", check=False).returncode == 100
    # The program is gone and the hook is still there.
    hook.write_text(hook.read_text().replace(str(paths.COMMAND), "/run/lab/no-such-program"))
    apt.apt("install", "hello")
    assert apt.version("hello") == "1.0"


def test_500_packages_at_once(stack, tmp_path):
    repository = Repository(tmp_path / "repository")
    for number in range(500):
        repository.add(f"package-{number:03}", f"1.{number}", Depends="" if number == 0 else "package-000")
    repository.publish()
    apt = AptRoot(tmp_path / "root", repository)
    apt.turn_on()
    phone = stack.approver("root")
    installing = Running(apt, "install", *[f"package-{number:03}" for number in range(500)])
    request = phone.next_request(seconds=30)
    assert request["detail"].startswith("500 packages: install package-") and request["detail"].endswith(" and 497 more")
    assert request["list"]["lines"] == 500
    # (dpkg takes its time for so many, and does nothing that it does not do for three.)
    before = apt.packages()
    phone.decide(request, "deny")
    assert installing.finish() == 100, installing.text[-2000:]
    assert apt.packages() == before


def test_settings_that_are_read_twice_have_the_hook_once():
    """As unattended-upgrades reads them: it would ask twice."""
    settings = run("apt-config", "-c", FRAGMENT, "-c", FRAGMENT, "dump").stdout
    assert settings.count("countersign package-hook apt") == 1


def test_origins_pass_by_policy_without_a_person(up, tmp_path):
    """As unattended-upgrades runs it: no terminal, and nobody logged in behind it."""
    good, other = Repository(tmp_path / "good", origin="Debian"), Repository(tmp_path / "other", origin="Other")
    for repository, name in ((good, "base"), (other, "extra")):
        repository.add(name, "1")
        repository.publish()
    apt = AptRoot(tmp_path / "root", good, other)
    apt.apt("install", "base", "extra")
    for repository, name in ((good, "base"), (other, "extra")):
        repository.add(name, "2")
        repository.publish()
    apt.apt("update")
    apt.turn_on()
    stack = up(then="deny")
    stack.daemon.write_config(
        f"{stack.daemon.config.read_text()}\n[[rule]]\nname = \"Debian's upgrades\"\n"
        'when = { service = "ask", action = "apt.upgrade", origin = "Debian" }\nthen = "skip"\n'
    )
    stack.daemon.stop()
    stack.daemon.start()
    before = apt.packages()
    # Together with a package from elsewhere, to remove, or a file that nobody vouches for: no.
    assert apt.apt("upgrade", check=False).returncode == 100
    assert apt.apt("remove", "base", check=False).returncode == 100
    local = Repository(tmp_path / "local").add("base", "3")
    assert apt.apt("install", local, check=False).returncode == 100
    # The archive is where others could exchange what is in it, or the link to it.
    archives = apt.root / "var/cache/apt/archives"
    elsewhere = tmp_path / "elsewhere"
    archives.rename(elsewhere)
    archives.symlink_to(elsewhere)
    for loose in (elsewhere, archives.parent):
        shutil.chown(loose, user="alice")
        assert apt.apt("install", "base", check=False).returncode == 100
        shutil.chown(loose, user="root")
    assert apt.packages() == before
    apt.apt("install", "base")
    assert (apt.version("base"), apt.version("extra")) == ("2", "1")


def test_a_list_that_lies_about_a_package_is_refused(tmp_path):
    """apt believes the list, dpkg the package: neither hostile text nor Countersign's own name gets past by that. Nobody is
    even asked: there is no daemon."""
    for name in ("nice", "countersign", "ni\x1b]0;x\u202ece"):
        repository = Repository(tmp_path / f"repository-{name.encode().hex()}")
        repository.add(name, "1.0")
        repository.publish()
        apt = AptRoot(tmp_path / f"root-{name.encode().hex()}", repository)
        if name == "countersign":
            apt.apt("install", "countersign")
        repository.add("evil", "2.0", description="\x1b[2J \u202e no")
        repository.stanzas[-1] = repository.stanzas[-1].replace("Package: evil", f"Package: {name}")
        repository.publish()
        apt.apt("update")
        apt.turn_on()
        before = apt.packages()
        done = apt.apt("install", name, check=False)
        assert done.returncode == 100
        shown = name.replace("\x1b", "\\u{1b}").replace("\u202e", "\\u{202e}")
        said = next(line for line in done.stderr.splitlines() if line.startswith("countersign: "))
        assert f"apt takes it for {shown} 2.0 all, and the package itself says Package: evil, Version: 2.0" in said
        assert "\x1b" not in said
        assert apt.packages() == before
