"""PAM services of the private host: /etc/pam.d/{sshd,sudo,su} as the documentation says to write them."""

from pathlib import Path

from . import paths

PAM_D = Path("/etc/pam.d")
BREAK_GLASS = "[success=1 default=ignore] pam_succeed_if.so quiet user ingroup countersign-breakglass"


def lines(auth, session, module="", arguments=""):
    """A service: password, break-glass, then Countersign; the same again for the session where asked."""
    module = module or str(paths.MODULE)
    call = f"{module} {arguments}".strip()
    text = ""
    if auth:
        text += "auth requisite pam_unix.so\n"
        text += f"auth {BREAK_GLASS}\n"
        text += f"auth requisite {call}\n"
    else:
        text += "auth required pam_unix.so\n"
    text += "account required pam_unix.so\n"
    if session:
        text += f"session {BREAK_GLASS}\n"
        text += f"session requisite {call}\n"
    text += "session required pam_unix.so\n"
    text += "password required pam_deny.so\n"
    return text


def write(service, text):
    (PAM_D / service).write_text(text)


def protect(module="", arguments=""):
    """Puts Countersign into sshd (auth and session), sudo and su (auth), and the test service `lab`."""
    write("sshd", lines(auth=True, session=True, module=module, arguments=arguments))
    for service in ("sudo", "su", "lab"):
        write(service, lines(auth=True, session=False, module=module, arguments=arguments))


def services():
    """What every service file has in it, by name."""
    return {path.name: path.read_bytes() for path in PAM_D.iterdir() if path.is_file()}


def put_back(before):
    """Leaves the services as they were then, and no other."""
    for path in PAM_D.iterdir():
        if path.is_file() and path.name not in before:
            path.unlink()
    for name, content in before.items():
        if not (PAM_D / name).is_file() or (PAM_D / name).read_bytes() != content:
            (PAM_D / name).write_bytes(content)
