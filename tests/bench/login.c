/* A process that logs in through libpam, as sshd's or su's child would, and what that costs it.
 *
 *     login once USER SERVICE            one login in this process, for strace and valgrind
 *     login take-turns USER N SERVICE... N times each service in turn, each login in a forked child; one line each:
 *                                        SERVICE RESULT WALL-NS CPU-NS (of the child, from pam_start to pam_end)
 *     login hold USER N SERVICE          N children at once, that stay where they are; prints their pids, ends with stdin
 *
 * CPU is the child's own; nothing that happens before pam_start or after pam_end counts. */
#define _GNU_SOURCE
#include <security/pam_appl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct report {
    int64_t wall, cpu;
    int result;
};

static int64_t now(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec * INT64_C(1000000000) + at.tv_nsec;
}

/* Shows nothing; answers nothing to a prompt, which then counts as an application that cannot ask. */
static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data) {
    (void)data;
    for (int i = 0; i < count; i++)
        if (messages[i]->msg_style == PAM_PROMPT_ECHO_ON || messages[i]->msg_style == PAM_PROMPT_ECHO_OFF)
            return PAM_CONV_ERR;
    *responses = calloc(count, sizeof **responses);
    return *responses ? PAM_SUCCESS : PAM_BUF_ERR;
}

static int login(const char *user, const char *service, int stay) {
    struct pam_conv conversation = {converse, NULL};
    pam_handle_t *handle;
    int result = pam_start(service, user, &conversation, &handle);
    if (result != PAM_SUCCESS)
        return result;
    pam_set_item(handle, PAM_RHOST, "192.0.2.7");
    result = pam_authenticate(handle, 0);
    /* What never waits, as pam_permit, is looked at here. */
    if (stay)
        pause();
    pam_end(handle, result);
    return result;
}

static int in_child(const char *user, const char *service, struct report *report) {
    int ends[2], status;
    if (pipe(ends))
        return -1;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int64_t wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        report->result = login(user, service, 0);
        report->cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        report->wall = now(CLOCK_MONOTONIC) - wall;
        _exit(write(ends[1], report, sizeof *report) != sizeof *report);
    }
    close(ends[1]);
    ssize_t got = child < 0 ? -1 : read(ends[0], report, sizeof *report);
    close(ends[0]);
    if (child > 0)
        waitpid(child, &status, 0);
    return got == sizeof *report ? 0 : -1;
}

static int take_turns(const char *user, int rounds, char **services) {
    for (int round = 0; round < rounds; round++)
        for (char **service = services; *service; service++) {
            struct report report;
            if (in_child(user, *service, &report))
                return 1;
            printf("%s %d %lld %lld\n", *service, report.result, (long long)report.wall, (long long)report.cpu);
            fflush(stdout);
        }
    return 0;
}

static int hold(const char *user, int count, const char *service) {
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child < 0)
            return 1;
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            _exit(login(user, service, 1));
        }
        printf("%d\n", child);
    }
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "once"))
        return login(argv[2], argv[3], 0);
    if (argc >= 5 && !strcmp(argv[1], "take-turns"))
        return take_turns(argv[2], atoi(argv[3]), argv + 4);
    if (argc == 5 && !strcmp(argv[1], "hold"))
        return hold(argv[2], atoi(argv[3]), argv[4]);
    fputs("usage: login once USER SERVICE | take-turns USER N SERVICE... | hold USER N SERVICE\n", stderr);
    return 2;
}
