"""One login of the matrix: a service, what the person does, and what comes of it."""

import re

import pexpect

from . import pam
from .accounts import PASSWORDS
from .terminal import Terminal, on_terminal_of

# What the module writes into the system log at a login's end, and which of PAM's results it returns with that. pamtester
# says the result itself, so that each of them is seen there, too.
RESULTS = {
    "granted": "SUCCESS",
    "ignored": "IGNORE",
    "denied": "AUTH_ERR",
    "expired": "AUTH_ERR",
    "withdrawn": "ABORT",
    "refused, too many waits or failures": "MAXTRIES",
    "refused, unreachable": "AUTHINFO_UNAVAIL",
    "refused, misconfigured": "AUTHINFO_UNAVAIL",
    "refused, fault": "SYSTEM_ERR",
}
SAID = {
    "successfully authenticated": "SUCCESS",
    "successfully opened a session": "SUCCESS",
    "Authentication failure": "AUTH_ERR",
    "Critical error - immediate abort": "ABORT",
    "Have exhausted maximum number of retries for service": "MAXTRIES",
    "Authentication service cannot retrieve authentication info": "AUTHINFO_UNAVAIL",
    "System error": "SYSTEM_ERR",
    "Cannot make/remove an entry for the specified session": "SESSION_ERR",
}
END = re.compile(
    rf"\((\w[\w-]*):(auth|session)\): ({'|'.join(RESULTS)}): user \"([^\"]*)\"(?: asked by \"[^\"]*\")?(?: from \"[^\"]*\")?(?:: (.*))?$"
)
# Not the name of a program in front of what it says.
PROMPT = r"((?:[^\r\n]* [^\r\n]*|[Pp]assword|login): ?)$"
SHELL = r"\$ $"
# Behind the reason of a refusal, where the program shows nothing but prompts.
ACKNOWLEDGED = re.compile(r"\.? Press Enter: ?$")
WENT_ON = "went on"
# In front of a line that only the log has, since the application shows nothing but prompts. In place of a result where another module decided before ours was asked.
UNSEEN = "log: "
GONE = "nobody is there any more"
# What differs from one time to the next.
ALIKE = (
    (r"accepted, \d+ left", "accepted, N left"),
    # What was wrong with the connection that was tried last: tests/test_circuit.py looks at that.
    (r"cannot be reached \([^)]*\)", "cannot be reached (why)"),
)
PASSED_BY, NOT_REACHED = "not asked: in", "not asked: refused before"


def protect(arguments=""):
    """Countersign in all services. Each has a name of its own for PAM, so that all of them can be played at once. Nobody waits
    until a refusal is said, as they do by pam_unix's word elsewhere."""
    for service in SERVICES.values():
        has_session = service.pam_name not in ("sudo", "su", "login", "lab")
        text = pam.lines(auth=True, session=has_session, arguments=arguments)
        pam.write(service.pam_name, text.replace("requisite pam_unix.so", "requisite pam_unix.so nodelay"))


def _ssh(method, name):
    return lambda lab, user: lab.clients[name].login(user, "echo", WENT_ON, method=method, timeout=30)


def _sudo(lab, user):
    return on_terminal_of(user, "sudo", "-k", "echo", WENT_ON, timeout=30)


def _su(lab, user):
    return on_terminal_of("demo", "su", user, "-c", f"echo {WENT_ON}", timeout=30)


def _login(lab, user):
    return Terminal(["env", "LANG=C.UTF-8", "TERM=dumb", "login", user], timeout=30)


def _pamtester(call, name):
    return lambda lab, user: Terminal(["env", "LANG=C", "pamtester", name, user, call], timeout=30)


class Service:
    """How one is started, `start(lab, user)`, what PAM calls it, the stage in which it comes to us, and whether we can ask there."""

    def __init__(self, start, pam_name, stage="auth", asks=True):
        self.start, self.pam_name, self.stage, self.asks = start, pam_name, stage, asks


SERVICES = {
    "sshd keyboard-interactive": Service(_ssh("keyboard-interactive", "sshd"), "sshd"),
    "sshd password": Service(_ssh("password", "sshd-password"), "sshd-password", asks=False),
    "sshd publickey": Service(_ssh("publickey", "sshd-key"), "sshd-key", "session", asks=False),
    "sshd publickey,keyboard-interactive": Service(_ssh("publickey,keyboard-interactive", "sshd-both"), "sshd-both"),
    "sudo": Service(_sudo, "sudo"),
    "su": Service(_su, "su"),
    "login": Service(_login, "login"),
    "pamtester authenticate": Service(_pamtester("authenticate", "lab"), "lab"),
    "pamtester open_session": Service(_pamtester("open_session", "lab-session"), "lab-session", "session", asks=False),
}


class Played:
    """What came of a login: PAM's result, the prompts beside that for the password, the line at the end."""

    def __init__(self, result, prompts, text, opened, screen):
        self.result, self.prompts, self.text, self.opened, self.screen = result, prompts, text, opened, screen

    def cell(self):
        """As it stands in the file: the result, then all that was read. Who is asked the same again reads it once here."""
        read = [*self.prompts, self.text] if self.text else self.prompts
        for was, reads in ALIKE:
            read = [re.sub(was, reads, line) for line in read]
        return [self.result, *(one for n, one in enumerate(read) if n == 0 or read[n - 1] != one)]


def play(lab, service, user, person):
    """Logs in and answers what is asked as `person` does, who hangs up where that is None."""
    prepared = person.prepares()
    mark = lab.syslog.mark()
    run = prepared or SERVICES[service].start(lab, user)
    person.started(run)
    prompts, password_given = [], False
    while True:
        seen = run.expect(PROMPT, SHELL, pexpect.EOF)
        if seen == 1:
            # Not as it is echoed.
            run.send(f"echo {WENT_ON.replace(' ', chr(34) + ' ' + chr(34))}; exit")
        elif seen == 2:
            break
        elif re.search(r"[Pp]assword|login: ?$", run.child.match.group(1)):
            # A second time: the first one was refused.
            if password_given:
                run.kill()
                break
            password_given = True
            run.send(PASSWORDS.get(user, "no password"))
        else:
            # ssh says before each whose prompt it is.
            prompt = re.sub(r"^\([^)]*\) ", "", run.child.match.group(1)).strip()
            prompts.append(prompt)
            answer = "" if prompt.endswith("Press Enter:") else person.types(prompt)
            if answer is None:
                run.kill()
                break
            run.send(answer)
    said = [code for words, code in SAID.items() if words in run.text]
    opened = WENT_ON in run.lines() or "SUCCESS" in said
    result, text = ended(lab, service, user, mark) or (PASSED_BY if opened else NOT_REACHED, "")
    run.kill()
    if person.hung_up:
        # Who is gone reads nothing, and often its process is gone with it.
        assert result in ("ABORT", "SESSION_ERR", NOT_REACHED), f"{service}: {result}"
        return Played(GONE, prompts, "", opened, run.text)
    # The module itself has other words for the person than for the log.
    own = [ACKNOWLEDGED.sub("", line) for line in run.lines() if line.startswith("countersign: ")]
    text = own[-1] if own else text
    if text and text not in run.text:
        text = f"{UNSEEN}{text}"
    assert not said or result in (*said, "IGNORE", PASSED_BY, NOT_REACHED), f"{service}: the log: {result}, pamtester: {said}"
    return Played(result, prompts, text, opened, run.text)


def ended(lab, service, user, mark):
    """PAM's result and the line at the end, as the module has logged them; None where it was not asked."""
    service = SERVICES[service]
    found = [END.search(line) for line in lab.syslog.lines("pam_countersign", after=mark)]
    for end in found:
        if end and (end[1], end[2], end[4]) == (service.pam_name, service.stage, user):
            result = RESULTS[end[3]]
            if service.stage == "session" and result not in ("SUCCESS", "IGNORE"):
                result = "SESSION_ERR"
            return result, end[5] or ""
    return None
