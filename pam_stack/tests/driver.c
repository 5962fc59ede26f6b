/* Asks the real libpam. Each line of standard input names a folder of service files; for each, service "lab" is gone
 * through in the stages auth, setcred, account, open and close, and their results are one line. */
#define _GNU_SOURCE
#include <security/pam_appl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libpam complains a lot about what is put before it here: not into the machine's log. */
void syslog(int priority, const char *format, ...) { (void)priority, (void)format; }
void __syslog_chk(int priority, int flag, const char *format, ...) { (void)priority, (void)flag, (void)format; }
void vsyslog(int priority, const char *format, va_list args) { (void)priority, (void)format, (void)args; }
void __vsyslog_chk(int priority, int flag, const char *format, va_list args) {
    (void)priority, (void)flag, (void)format, (void)args;
}

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data) {
    (void)messages, (void)data;
    *responses = calloc(count, sizeof **responses);
    return *responses ? PAM_SUCCESS : PAM_BUF_ERR;
}

int main(void) {
    char folder[4096];
    while (fgets(folder, sizeof folder, stdin)) {
        struct pam_conv conv = {converse, NULL};
        pam_handle_t *handle;
        folder[strcspn(folder, "\n")] = 0;
        int started = pam_start_confdir("lab", "root", &conv, folder, &handle);
        if (started) {
            printf("%d %d %d %d %d\n", started, started, started, started, started);
            continue;
        }
        int auth = pam_authenticate(handle, 0);
        int cred = pam_setcred(handle, PAM_ESTABLISH_CRED);
        int account = pam_acct_mgmt(handle, 0);
        int opened = pam_open_session(handle, 0);
        int closed = pam_close_session(handle, 0);
        printf("%d %d %d %d %d\n", auth, cred, account, opened, closed);
        pam_end(handle, opened);
    }
    return 0;
}
