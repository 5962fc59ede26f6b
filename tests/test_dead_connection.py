"""A connection to the server that is dead without a word, as behind a router that was restarted."""

from lab.broken import Front
from lab.process import free_port
from lab.terminal import on_terminal_of

# What the daemon says when its stream has brought nothing for two seconds while a login waited, and another one has.
ANOTHER = "brought nothing for 2 s; another one is in its place"
GONE = "the server is gone"


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
    # What the phone may have missed comes again, and nobody has heard that the server was gone.
    syslog.wait_for(ANOTHER, seconds=10, after=mark)
    assert stack.daemon.status()["connected"]
    assert GONE not in "\n".join(syslog.lines(after=mark))
    phone.stop()
    phone.start()
    phone.approve(phone.next_request(after=len(phone.requests())))
    assert run.finish(timeout=30) == 0
    assert run.lines()[-1] == "ran"
    front.stop()


def test_a_login_on_a_dead_connection_is_asked_on_another_one(up, syslog):
    port = free_port()
    front = Front(port)
    stack = up(server={"port": port, "origin": f"http://127.0.0.1:{front.port}"}, confirm="tap", wait="30s", offline=[], codes=[])
    phone = stack.approver("alice")
    mark = syslog.mark()
    front.forgotten()
    phone.stop()
    phone.start()
    run = on_terminal_of("alice", "sudo", "-k", "echo", "ran", timeout=30)
    run.answer_password("alice-password")
    phone.approve(phone.next_request())
    assert run.finish(timeout=30) == 0
    assert run.lines()[-1] == "ran"
    assert GONE not in "\n".join(syslog.lines(after=mark))
    front.stop()
