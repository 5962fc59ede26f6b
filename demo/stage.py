"""`make demo`: the lab on a split terminal: left the pairing, right a shell with the lines to type.

stage.py SOCKET PORT: the server is at http://localhost:PORT for the person's browser, too, through SOCKET (forward.py).
"""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import setup
from lab import accounts, paths
from lab.process import RUNNING, Process

TMUX = ["tmux", "-S", "/run/lab/tmux", "-f", "/dev/null"]
CONTROL = Path("/run/lab/control")

HERE = Path(__file__).parent

LINES = """\
A private lab: your machine's accounts and /etc are not in it.

1. On the left is a link. Open it in a browser of yours:
   that is demo's phone from then on. Type its code there.
   (From elsewhere: ssh -L {web}:localhost:{web} here first.)
2. Here (a click changes sides; so does Ctrl-b and an arrow):
     ssh -p {port} demo@127.0.0.1
   The password is {password}.
3. Approve in the browser, and type its six digits here.

More to try:
  ssh -p {port} -o PreferredAuthentications=publickey \\
    demo@127.0.0.1 date      with a key alone: one tap
  sudo -k id                 the same for sudo
  lab server stop            then ssh again: recovery code
                             {code}
  lab daemon stop            then ssh again: refused
  ssh -p {port} rescue@127.0.0.1
                             break-glass still gets in
                             (password {rescue})
  lab server start, lab daemon start
  exit                       ends the lab
"""


def terminal_approver(stack):
    """Pairs the approver that runs in a terminal, and leaves it to the person."""
    stack.approver(setup.USER, "terminal").stop()
    (stack.directory / "terminal-paired").touch()


def control(stack):
    """Stops and starts the parts, as the script `lab` asks."""
    actions = {
        "server stop": stack.server.stop,
        "server start": stack.server.start,
        "daemon stop": stack.daemon.stop,
        "daemon start": stack.daemon.start,
        "terminal": lambda: terminal_approver(stack),
    }
    while True:
        with open(CONTROL) as asked:
            for line in asked:
                action = actions.get(line.strip())
                if action:
                    action()


def prepare(stack):
    """The lines to type, the script `lab`, and demo's ssh configuration."""
    sshd = stack.sshd(port=setup.PORT)
    os.mkfifo(CONTROL)
    CONTROL.chmod(0o622)
    threading.Thread(target=control, args=(stack,), daemon=True).start()
    script = Path("/run/lab/bin/lab")
    script.write_text(f'#!/bin/sh\necho "$*" > {CONTROL}\n')
    script.chmod(0o755)

    client = stack.client(sshd, setup.USER)
    ssh = accounts.HOMES / setup.USER / ".ssh"
    shutil.copy(client.key, ssh / "id_ed25519")
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}")
    for file in ssh.iterdir():
        shutil.chown(file, setup.USER, setup.USER)
        file.chmod(0o600)
    # Without this ssh would use the key at once, and never ask for password and code.
    (ssh / "config").write_text("Host *\n  PreferredAuthentications keyboard-interactive,publickey\n")
    codes = stack.daemon.command("codes", setup.USER, "--recovery")["codes"]
    words = {
        "password": setup.PASSWORD, "port": sshd.port, "web": stack.server.port, "code": codes[0],
        "rescue": accounts.PASSWORDS["rescue"],
    }  # fmt: skip
    welcome = accounts.HOMES / setup.USER / ".bashrc"
    welcome.write_text(f"PS1='lab$ '\nPATH=/run/lab/bin:$PATH\ncat <<'LINES'\n{LINES.format(**words)}LINES\n")


def tmux(*words, **options):
    return subprocess.run([*TMUX, *words], check=True, **options)


def main():
    door, port = sys.argv[1], sys.argv[2]
    setup.host()
    stack = setup.stack(port=int(port))
    Process("forward", ["/usr/bin/python3", HERE / "forward.py", "inside", door, port], stack.directory / "forward.log")
    prepare(stack)
    home = stack.directory / f"{setup.USER}-terminal"
    pairing = f"{HERE / 'pairing'} {setup.USER} {home} {stack.directory / 'terminal-paired'}"
    shell = " ".join(accounts.as_user_argv(setup.USER, "TERM=screen", "bash"))
    tmux("new-session", "-d", "-s", "lab", "-x", "160", "-y", "40", pairing)
    tmux("set-option", "-g", "mouse", "on", ";", "set-option", "-g", "status", "off")
    tmux("split-window", "-h", "-t", "lab", "-l", "62", "-c", str(accounts.HOMES / setup.USER), shell)
    # The shell's end is the lab's end.
    tmux("set-hook", "-t", "lab", "pane-exited", "kill-server")
    subprocess.run([*TMUX, "attach-session", "-t", "lab"])
    for running in list(RUNNING):
        running.stop()


if __name__ == "__main__":
    main()
