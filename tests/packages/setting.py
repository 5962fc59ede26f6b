"""Three machines and their people, as they are before anybody there knows of Countersign."""

import time
from concurrent.futures import ThreadPoolExecutor

import pexpect
from authority import LetsEncrypt
from device import LINK, Device
from documents import blocks, typed_on
from shell import Shell

from lab.process import wait_until
from lab.terminal import CODE, PASSWORD


NAME = "push.example.com"
# The README's part that is typed.
INSTALL = "Install it"
TRUSTED = "/etc/ssl/certs/ca-certificates.crt"
ROOT_PASSWORD = "root-password"
PASSWORDS = {"alice": "alice-password", "bob": "bob-password", "rescue": "rescue-password"}
# For a login that is refused: the client goes on to no other method.
NO_OTHER = ("-o", "PreferredAuthentications=publickey,keyboard-interactive")
APPROVE = r"type its code: ?$"
# Theirs on the laptop, whose ssh they use.
OWNERS = ("alice", "bob", "rescue")


# What is wrong, and is said, before somebody has set it up.
ASKED = ("it does not exist", "is faulty: every login is refused")


def pam_and_ssh(host):
    """What decides logins, byte for byte."""
    files = [*host.root.glob("etc/pam.d/*"), host.path("/etc/ssh/sshd_config"), *host.root.glob("etc/ssh/sshd_config.d/*")]
    return {file.name: (file.read_bytes(), file.stat().st_mode, file.stat().st_uid, file.stat().st_gid) for file in files}


class Site:
    """`host` is to be protected, `server` is push.example.com, people sit at `laptop`. `authority` stands in for Let's Encrypt."""

    def __init__(self, boot, directory):
        with ThreadPoolExecutor() as pool:
            self.server, self.host, self.laptop = pool.map(boot, (NAME, "host", "laptop"))
        self.authority = LetsEncrypt(directory / "authority", self.server.address)
        self._directory = directory
        self._devices = []
        for machine in (self.server, self.host, self.laptop):
            # As update-ca-certificates does, without hashing all the others anew.
            with open(machine.path(TRUSTED), "a") as trusted:
                trusted.writelines(root.read_text() for root in self.authority.roots)
        self._accounts()

    def _accounts(self):
        host, laptop = self.host, self.laptop
        for user, password in PASSWORDS.items():
            host.run("useradd", "--create-home", "--shell", "/bin/bash", user)
            host.run("chpasswd", stdin=f"{user}:{password}\n")
            laptop.run("useradd", "--create-home", "--shell", "/bin/bash", user)
        host.run("chpasswd", stdin=f"root:{ROOT_PASSWORD}\n")
        for user in ("alice", "rescue"):
            host.run("gpasswd", "--add", user, "sudo")
        host.write("/etc/sudoers.d/lab", "Defaults lecture=never\n", mode=0o440)
        # Everybody sits at one address here, which newer sshds hold what they refused against.
        if "persourcepenalties" in host.run("sshd", "-T").stdout:
            host.write("/etc/ssh/sshd_config.d/lab.conf", "PerSourcePenalties no\n")
            host.run("systemctl", "restart", "ssh")
        key = (host.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
        laptop.write("/etc/ssh/ssh_known_hosts", f"host,{host.address} {key}")

    def give_key(self, user):
        """An ssh key that lets the user in."""
        self.laptop.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"/home/{user}/.ssh/id_ed25519", user=user)
        key = self.laptop.read(f"/home/{user}/.ssh/id_ed25519.pub")
        self.host.shell("umask 077; mkdir -p .ssh; cat >>.ssh/authorized_keys", user=user, stdin=key)

    def has_certificate(self):
        return "BEGIN" in self.laptop.shell(
            f"openssl s_client -connect {NAME}:443 -CAfile {TRUSTED} -verify_return_error </dev/null 2>/dev/null || true"
        ).stdout

    def follow_readme(self, upto=None):
        """Types what the README has below "Install it", in its order, up to a command with that in it; `phone` is alice's device
        from then on."""
        self.laptop.shell("apt install -y /debs/countersign_*.deb")
        self.phone = self.device("alice")
        shells = {NAME: self.root_shell(self.server), "host": self.admin()}
        for shell in shells.values():
            shell.type("cd /debs")
            shell.answers = self.answers_to_commands(self.phone)
        token = None
        for block in typed_on("README.md", INSTALL):
            for command in block.commands:
                if upto and upto in command:
                    return
                if command.endswith("countersign confirm"):
                    self.confirm()
                    continue
                if "TOKEN" in command:
                    command = command.replace("TOKEN", token)
                said = shells[block.marks["on"]].type(command)
                if command.endswith("server token"):
                    token = said.split()[-1]
                if command.startswith("systemctl enable") and "server" in command:
                    wait_until(self.has_certificate, 30, f"{NAME} has its certificate")

    def protect(self, *services):
        """The services ask from now on."""
        shell = self.admin()
        shell.type(f"countersign enable {' '.join(services)}", self.answers_to_commands(self.phone))
        self.confirm()
        shell.close()

    # What people do.

    def device(self, user):
        """The user's approver on the laptop; it is not paired yet."""
        self._devices.append(Device(self._directory / f"{user}-{len(self._devices)}", self.laptop, user))
        return self._devices[-1]

    def ssh(self, user, *command, options=(), at=None):
        """The user's ssh from the laptop, on a terminal."""
        argv = ["ssh", "-o", "NumberOfPasswordPrompts=1", "-o", "ConnectionAttempts=5", *options]
        return self.laptop.terminal(*argv, f"{at or user}@host", *command, user=user)

    def answers_to_commands(self, device):
        """What somebody types at the countersign command's questions, with that device in the other hand."""
        asked = [(r"\[Y/n\]: $", "y"), (r"Enter, once they are on paper: $", ""), (r"\[y/N\] $", "y"), (r"\[Y/n\]: $", "y"), (r"paper: $", "")]
        return [(LINK, device.pairs), (APPROVE, device.yes), *asked]

    def let_in(self, terminal, until=r"\$ $", password=PASSWORDS["alice"]):
        """Gives what is asked, on the terminal or on alice's phone, until that is seen; returns what was asked, in its order."""
        asked = []
        deadline = time.monotonic() + 40
        while True:
            seen = terminal.child.expect([until, CODE, PASSWORD, pexpect.EOF, pexpect.TIMEOUT], timeout=0.2)
            if seen < 3:
                terminal.text += terminal.child.before + terminal.child.after
            if seen == 0:
                return asked
            if seen == 1:
                asked.append("code")
                terminal.send(self.phone.yes())
            elif seen == 2:
                asked.append("password")
                terminal.send(password)
            elif self.phone.waits("tap"):
                asked.append("tap")
                self.phone.yes()
            elif seen == 3 or time.monotonic() > deadline:
                raise AssertionError(f"not let in; asked {asked}, and on the screen:\n{terminal.text}{terminal.child.before}")

    def admin(self):
        """alice's ssh to the host, and from there root's shell."""
        terminal = self.ssh("alice")
        self.let_in(terminal)
        terminal.send("sudo -i")
        self.let_in(terminal, until=r"root@[^#]*# $")
        return Shell(terminal)

    def confirm(self, first=None):
        """Comes in once more, as `enable` wants it, and says that it works; `first` is done in the new login before."""
        terminal = self.ssh("alice")
        self.let_in(terminal)
        if first:
            first(terminal)
        terminal.send("sudo countersign confirm && echo confir''med")
        self.let_in(terminal, until="confirmed\r\n")
        terminal.kill()

    def root_shell(self, machine):
        """A root's shell that is there already: of whoever sits at the machine."""
        return Shell(machine.terminal("bash", "--norc", "--noprofile"))

    def close(self):
        for device in self._devices:
            device.stop()
        self.authority.stop()
