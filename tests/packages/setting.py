"""Three machines and their people, as they are before anybody there knows of Countersign."""


from concurrent.futures import ThreadPoolExecutor

from authority import LetsEncrypt
from device import LINK, Device
from shell import Shell


NAME = "push.example.com"
TRUSTED = "/etc/ssl/certs/ca-certificates.crt"
ROOT_PASSWORD = "root-password"
PASSWORDS = {"alice": "alice-password", "bob": "bob-password", "rescue": "rescue-password"}
APPROVE = r"type its code: ?$"
# Theirs on the laptop, whose ssh they use.
OWNERS = ("alice", "bob", "rescue")


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

    # What people do.

    def device(self, user):
        """The user's approver on the laptop; it is not paired yet."""
        self._devices.append(Device(self._directory / f"{user}-{len(self._devices)}", self.laptop, user))
        return self._devices[-1]

    def ssh(self, user, *command, options=(), at=None):
        """The user's ssh from the laptop, on a terminal."""
        argv = ["ssh", "-o", "NumberOfPasswordPrompts=1", "-o", "ConnectionAttempts=5", "-o", "PreferredAuthentications=publickey,keyboard-interactive", *options]
        return self.laptop.terminal(*argv, f"{at or user}@host", *command, user=user)

    def answers_to_commands(self, device):
        """What somebody types at the countersign command's questions, with that device in the other hand."""
        return [(LINK, device.pairs), (APPROVE, device.yes), (r"\[y/N\] $", "y")]

    def root_shell(self, machine):
        """A root's shell that is there already: of whoever sits at the machine."""
        return Shell(machine.terminal("bash", "--norc", "--noprofile"))

    def close(self):
        for device in self._devices:
            device.stop()
        self.authority.stop()


def packages(directory, *names):
    """The files of these packages in a directory of the machine's, as words for apt."""
    return [f"{directory}/{name}_*.deb" for name in names]


