"""A connected TCP socket that a user stuffs into a set-uid program is nobody's word on where a login comes from."""

import json
import socket
import subprocess
import threading

import pytest
from lab import pam, paths, tools
from lab.terminal import on_terminal_of

# Where the user would like to seem to come from. Loopback is the test's own, so it may have that address.
ELSEWHERE = "203.0.113.9"


@pytest.fixture
def elsewhere():
    """Takes connections at an address that means something else to whoever believes it; holds them."""
    subprocess.run(["ip", "address", "add", f"{ELSEWHERE}/32", "dev", "lo"], check=True)
    listener = socket.create_server((ELSEWHERE, 0))
    held = []

    def take():
        while True:
            try:
                held.append(listener.accept()[0])
            except OSError:
                return

    threading.Thread(target=take, daemon=True).start()
    yield listener.getsockname()[1], held
    listener.close()
    for connection in held:
        connection.close()
    subprocess.run(["ip", "address", "del", f"{ELSEWHERE}/32", "dev", "lo"], check=True)


def stuffed(port, command):
    """Alice's terminal: connects there, and starts a program that inherits the socket as descriptor 7."""
    return on_terminal_of("alice", "bash", "-c", f"exec 7<>/dev/tcp/{ELSEWHERE}/{port} && exec {command}", timeout=15)


def not_believed(stack, request):
    assert request.get("remote", {}).get("source") != "kernel", request
    assert ELSEWHERE not in json.dumps(request)
    assert ELSEWHERE not in json.dumps(stack.daemon.audit())


def test_sshds_own_connection_is_the_kernels_word(stack):
    """What the others below must not get."""
    phone, sshd = stack.approver("alice"), stack.sshd()
    login = stack.client(sshd).login("alice", "true")
    login.answer_password("alice-password")
    request = phone.next_request()
    assert request["remote"]["source"] == "kernel" and request["remote"]["address"] == "127.0.0.1"
    login.answer_code(phone.approve(request))
    assert login.finish() == 0


def test_su_and_sudo_do_not_vouch_for_an_inherited_socket(stack, elsewhere):
    port, held = elsewhere
    phone = stack.approver("alice")
    # sudo closes what is above the standard descriptors, so there it stands in their place.
    ways = ["su alice -c id", "su alice -c id 8<&7 9<&7", "sudo -k id <&7", "sudo -k id <&7 2>&7"]
    for number, command in enumerate(ways):
        run = stuffed(port, command)
        run.answer_password("alice-password")
        request = phone.next_request(after=number)
        # Nor does its end withdraw anything.
        held.pop().close()
        run.answer_code(phone.approve(request))
        assert run.finish() == 0 and run.lines()[-1].startswith("uid="), command
        not_believed(stack, request)
        assert phone.wait_closed(request)["outcome"] == "approved"


def test_a_set_uid_program_that_calls_itself_sshd_is_not_believed(up, elsewhere):
    """Neither with the user's real uid, nor after it has made itself root for good: it was privileged at exec."""
    port, held = elsewhere
    stack = up(confirm="tap")
    phone = stack.approver("alice")
    program = tools.set_uid("caller.c", "root")
    ways = [(service, options) for service in ("sshd", "sshd-session", "sshd2", "lab") for options in ("", "become-root")]
    for number, (service, options) in enumerate(ways):
        pam.write(service, f"auth required {paths.MODULE}\n")
        run = stuffed(port, f"{program} {service} alice {options}")
        request = phone.next_request(after=number)
        assert held
        phone.approve(request)
        assert run.finish() == 0
        real, effective = run.lines()[0].split()[1:]
        assert effective == "0" and (real == "0") == bool(options)
        assert "result auth 0" in run.lines()
        not_believed(stack, request)
