/* A PAM module that changes PAM_USER, as one that maps names would, and at worse moments than it would.
 *
 *     pam_change.so now=USER           at once
 *     pam_change.so prompt=USER        at the next prompt of another module, through the conversation
 *     pam_change.so after=MS:USER      by itself, while another module runs */
#define PAM_SM_AUTH
#include <pthread.h>
#include <security/pam_appl.h>
#include <security/pam_modules.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pam_handle_t *handle;
static const struct pam_conv *before;
static struct pam_conv changed;
static char to[64];
static int milliseconds;

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *data) {
    int result = before->conv(count, messages, responses, data);
    if (messages[0]->msg_style == PAM_PROMPT_ECHO_ON) pam_set_item(handle, PAM_USER, to);
    return result;
}

static void *later(void *data) {
    usleep(milliseconds * 1000);
    pam_set_item(handle, PAM_USER, to);
    return data;
}

int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    static struct pam_conv kept;
    const void *item;
    pthread_t thread;
    (void)flags;
    handle = pamh;
    if (argc != 1) return PAM_SERVICE_ERR;
    const char *value = strchr(argv[0], '=') + 1;
    if (!strncmp(argv[0], "now=", 4)) return pam_set_item(pamh, PAM_USER, value);
    if (!strncmp(argv[0], "prompt=", 7)) {
        strncpy(to, value, sizeof to - 1);
        if (pam_get_item(pamh, PAM_CONV, &item) != PAM_SUCCESS) return PAM_SERVICE_ERR;
        kept = *(const struct pam_conv *)item;
        before = &kept;
        changed = (struct pam_conv){converse, kept.appdata_ptr};
        return pam_set_item(pamh, PAM_CONV, &changed);
    }
    milliseconds = atoi(value);
    strncpy(to, strchr(value, ':') + 1, sizeof to - 1);
    return pthread_create(&thread, NULL, later, NULL) ? PAM_SERVICE_ERR : PAM_SUCCESS;
}

int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}
