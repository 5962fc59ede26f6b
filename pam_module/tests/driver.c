/* Drives a PAM stack of a private directory through the real libpam, the way sshd or sudo would, and
 * reports what came of it, one line each: shown text, prompts, syslog lines, results.
 *
 *     driver CONFDIR SERVICE USER STAGES [OPTION...]
 *
 * STAGES: auth,setcred,acct,open,close,chauthtok joined by commas.
 *
 *     driver listen PATH      an impostor's Unix socket, for half a minute */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <security/pam_appl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

static FILE *out;
static pam_handle_t *handle;
static const char *conversation = "ok", *answer = "123456", *rename_to, *rhost, *ruser, *tty;
static int silent;

/* libpam's syslog calls end here: the tests see the lines, the machine's log does not. */
static void log_line(int priority, const char *format, va_list args) {
    char line[4096];
    vsnprintf(line, sizeof line, format, args);
    fprintf(out, "log %d %s\n", priority, line);
}
void syslog(int priority, const char *format, ...) {
    va_list args;
    va_start(args, format);
    log_line(priority, format, args);
    va_end(args);
}
void __syslog_chk(int priority, int flag, const char *format, ...) {
    va_list args;
    (void)flag;
    va_start(args, format);
    log_line(priority, format, args);
    va_end(args);
}
void vsyslog(int priority, const char *format, va_list args) { log_line(priority, format, args); }
void __vsyslog_chk(int priority, int flag, const char *format, va_list args) {
    (void)flag;
    log_line(priority, format, args);
}

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data) {
    (void)data;
    for (int i = 0; i < count; i++)
        fprintf(out, "shown %d %s\n", messages[i]->msg_style, messages[i]->msg);
    if (rename_to)
        pam_set_item(handle, PAM_USER, rename_to);
    if (!strcmp(conversation, "fail"))
        return PAM_CONV_ERR;
    if (!strcmp(conversation, "null")) {
        *responses = NULL;
        return PAM_SUCCESS;
    }
    *responses = calloc(count, sizeof **responses);
    for (int i = 0; i < count; i++) {
        int style = messages[i]->msg_style;
        if (style != PAM_PROMPT_ECHO_ON && style != PAM_PROMPT_ECHO_OFF)
            continue;
        if (!strcmp(conversation, "noanswer"))
            continue;
        if (!strcmp(conversation, "latin1"))
            (*responses)[i].resp = strdup("caf\xe9");
        else if (!strcmp(conversation, "long")) {
            char *text = malloc(100001);
            memset(text, 'x', 100000);
            text[100000] = 0;
            (*responses)[i].resp = text;
        } else
            (*responses)[i].resp = strdup(answer);
    }
    return PAM_SUCCESS;
}

static int run(const char *stage) {
    int flags = silent ? PAM_SILENT : 0;
    if (!strcmp(stage, "auth")) return pam_authenticate(handle, flags);
    if (!strcmp(stage, "setcred")) return pam_setcred(handle, flags | PAM_ESTABLISH_CRED);
    if (!strcmp(stage, "acct")) return pam_acct_mgmt(handle, flags);
    if (!strcmp(stage, "open")) return pam_open_session(handle, flags);
    if (!strcmp(stage, "close")) return pam_close_session(handle, flags);
    if (!strcmp(stage, "chauthtok")) return pam_chauthtok(handle, flags);
    abort();
}

static void run_all(const char *stages) {
    char list[256], *rest = list, *stage;
    snprintf(list, sizeof list, "%s", stages);
    while ((stage = strsep(&rest, ",")))
        fprintf(out, "result %s %d\n", stage, run(stage));
}

static int entries(const char *path) {
    DIR *directory = opendir(path);
    int count = 0;
    while (directory && readdir(directory)) count++;
    if (directory) closedir(directory);
    return count;
}

static int lines(const char *path) {
    FILE *file = fopen(path, "r");
    int count = 0, c;
    while (file && (c = getc(file)) != EOF) count += c == '\n';
    if (file) fclose(file);
    return count;
}

static void report_counts(void) {
    fprintf(out, "counts fds=%d threads=%d maps=%d\n", entries("/proc/self/fd"), entries("/proc/self/task"),
            lines("/proc/self/maps"));
}

static void nothing(int signal) { (void)signal; }

/* A child that sends this process a signal after a while. */
static void signal_later(int signal, int milliseconds) {
    pid_t target = getpid();
    if (fork() == 0) {
        for (int fd = 0; fd < 64; fd++) close(fd);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        usleep(milliseconds * 1000);
        kill(target, signal);
        _exit(0);
    }
}

static int listen_at(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 5)) return 1;
    puts("listening");
    fflush(stdout);
    sleep(30);
    return 0;
}

int main(int argc, char **argv) {
    struct pam_conv conv = {converse, NULL};
    const char *environment[16];
    int variables = 0, loop = 1, in_child = 0, close_stdio = 0, block_int = 0;
    if (argc == 3 && !strcmp(argv[1], "listen")) return listen_at(argv[2]);
    if (argc < 5) return 2;
    out = fdopen(dup(1), "w");
    for (int i = 5; i < argc; i++) {
        char *name = argv[i], *value = strchr(name, '=');
        if (value) *value++ = 0;
        else value = "";
        if (!strcmp(name, "conv")) conversation = value;
        else if (!strcmp(name, "answer")) answer = value;
        else if (!strcmp(name, "rename")) rename_to = value;
        else if (!strcmp(name, "rhost")) rhost = value;
        else if (!strcmp(name, "ruser")) ruser = value;
        else if (!strcmp(name, "tty")) tty = value;
        else if (!strcmp(name, "env") && variables < 16) environment[variables++] = value;
        else if (!strcmp(name, "silent")) silent = 1;
        else if (!strcmp(name, "loop")) loop = atoi(value);
        else if (!strcmp(name, "in-child")) in_child = 1;
        else if (!strcmp(name, "close-stdio")) close_stdio = 1;
        else if (!strcmp(name, "block-int")) block_int = 1;
        else if (!strcmp(name, "int-after")) {
            block_int = 1;
            signal_later(SIGINT, atoi(value));
        } else if (!strcmp(name, "usr1-after")) {
            struct sigaction action = {.sa_handler = nothing};
            sigaction(SIGUSR1, &action, NULL);
            signal_later(SIGUSR1, atoi(value));
        } else return 2;
    }
    if (close_stdio) {
        FILE *high = fdopen(fcntl(fileno(out), F_DUPFD, 20), "w");
        fclose(out);
        out = high;
        close(0), close(1), close(2);
    }
    if (block_int) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigprocmask(SIG_BLOCK, &set, NULL);
    }
    for (int i = 1; i <= loop; i++) {
        int started = pam_start_confdir(argv[2], *argv[3] ? argv[3] : NULL, &conv, argv[1], &handle);
        if (started != PAM_SUCCESS) {
            fprintf(out, "result start %d\n", started);
            return 1;
        }
        if (rhost) pam_set_item(handle, PAM_RHOST, rhost);
        if (ruser) pam_set_item(handle, PAM_RUSER, ruser);
        if (tty) pam_set_item(handle, PAM_TTY, tty);
        for (int j = 0; j < variables; j++) pam_putenv(handle, environment[j]);
        run_all(argv[4]);
        if (in_child) {
            fflush(out);
            pid_t child = fork();
            if (child == 0) {
                run_all(argv[4]);
                fflush(out);
                _exit(0);
            }
            int status;
            waitpid(child, &status, 0);
            fprintf(out, "child %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
        }
        const char *token = pam_getenv(handle, "COUNTERSIGN_GRANT");
        fprintf(out, "token %s\n", token ? token : "-");
        pam_end(handle, PAM_SUCCESS);
        if (loop > 1 && (i == 10 || i == loop)) report_counts();
    }
    if (block_int) {
        sigset_t set;
        sigpending(&set);
        fprintf(out, "pending %d\n", sigismember(&set, SIGINT));
    }
    for (int fd = 0; close_stdio && fd < 3; fd++)
        fprintf(out, "stdio %d %s\n", fd, fcntl(fd, F_GETFD) < 0 ? "closed" : "open");
    fclose(out);
    return 0;
}
