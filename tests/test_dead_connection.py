"""A connection to the server that is dead without a word, as behind a router that was restarted."""

from lab.broken import Front
from lab.process import free_port, wait_until
from lab.terminal import on_terminal_of

# What the daemon says when its stream has brought nothing for ten seconds while a login waited.
STALLED = "nothing has come for 10 s, though a login waits"


def test_the_daemon_notices_while_a_login_waits_and_asks_on_another_connection(up, syslog):
    port = free_port()
    front = Front(port)
    stack = up(server={"port": port, "origin": f"http://127.0.0.1:{front.port}"}, confirm="tap", wait="60s")
    phone = stack.approver("alice")
    run = on_terminal_of("alice", "sudo", "-k", "echo", "ran", timeout=60)
    run.answer_password("alice-password")
    phone.next_request()
    mark = syslog.mark()
    front.forgotten()
    syslog.wait_for(STALLED, seconds=20, after=mark)
    # A stream again, not long polls, and what the phone may have missed comes again.
    syslog.wait_for("connected to server version 0.", seconds=10, after=mark)
    wait_until(lambda: stack.daemon.status()["connected"], 5, "the daemon is connected")
    phone.stop()
    phone.start()
    phone.approve(phone.next_request(after=len(phone.requests())))
    assert run.finish(timeout=30) == 0
    assert run.lines()[-1] == "ran"
    front.stop()


def test_a_login_on_a_dead_connection_is_told_and_the_next_one_is_well(up, syslog):
    port = free_port()
    front = Front(port)
    stack = up(server={"port": port, "origin": f"http://127.0.0.1:{front.port}"}, confirm="tap", wait="30s", offline=[], codes=[])
    stack.approver("alice")
    mark = syslog.mark()
    front.forgotten()
    first = on_terminal_of("alice", "sudo", "-k", "echo", "ran", timeout=30)
    first.answer_password("alice-password")
    syslog.wait_for("no answer within 2 s", after=mark)
    first.interrupt()
    syslog.wait_for("connected to server version 0.", seconds=10, after=mark)
    wait_until(lambda: stack.daemon.status()["connected"], 5, "the daemon is connected")
    front.stop()
