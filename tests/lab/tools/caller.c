/* A PAM application, to be made set-uid: what somebody does who chose its open files and its environment.
 *
 *     caller SERVICE USER [become-root] [become=UID] [open] [exec-at-prompt]
 *
 * Prints one line a result. Prompts are answered with an empty line. */
#define _GNU_SOURCE
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int exec_at_prompt;

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data) {
    (void)data;
    *responses = calloc(count, sizeof **responses);
    for (int i = 0; i < count; i++) {
        printf("shown %d %s\n", messages[i]->msg_style, messages[i]->msg);
        fflush(stdout);
        if (messages[i]->msg_style != PAM_PROMPT_ECHO_ON) continue;
        if (exec_at_prompt) execl("/bin/sleep", "sleep", "30", (char *)NULL);
        (*responses)[i].resp = strdup("");
    }
    return PAM_SUCCESS;
}

int main(int argc, char **argv) {
    struct pam_conv conv = {converse, NULL};
    pam_handle_t *handle;
    int open = 0;
    if (argc < 3) return 2;
    for (int i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "become-root")) {
            if (setresuid(0, 0, 0)) return 3;
        } else if (!strncmp(argv[i], "become=", 7)) {
            /* Only the effective one: who may come back is still root. */
            if (seteuid(atoi(argv[i] + 7))) return 3;
        } else if (!strcmp(argv[i], "open")) open = 1;
        else if (!strcmp(argv[i], "exec-at-prompt")) exec_at_prompt = 1;
        else return 2;
    }
    printf("uids %d %d\n", getuid(), geteuid());
    fflush(stdout);
    if (pam_start(argv[1], argv[2], &conv, &handle) != PAM_SUCCESS) return 1;
    printf("result auth %d\n", pam_authenticate(handle, 0));
    if (open) printf("result open %d\n", pam_open_session(handle, 0));
    pam_end(handle, PAM_SUCCESS);
    return 0;
}
