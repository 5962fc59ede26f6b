#!/bin/sh
# Checks a built pam_countersign.so: what it needs, what it exports, that it stays loaded, how big it is.
#
#     symbols.sh FILE [MAX_KIB]
set -eu
file=$1
max_kib=${2:-}
fail() {
    echo "$file: $*" >&2
    exit 1
}

dynamic=$(readelf -d "$file")
for library in $(echo "$dynamic" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
    case $library in
    # The loader counts as libc: it holds __tls_get_addr.
    libc.so.6 | libpam.so.0 | libgcc_s.so.1 | ld-linux*) ;;
    *) fail "needs $library; only libc, libpam and libgcc_s may be needed" ;;
    esac
done
echo "$dynamic" | grep -q 'NODELETE' || fail "may be unloaded; link it with -z nodelete"
echo "$dynamic" | grep -q 'BIND_NOW' || fail "binds lazily; link it with -z now"
readelf -lW "$file" | grep 'GNU_STACK' | grep -q 'RWE' && fail "asks for an executable stack"

expected='pam_sm_acct_mgmt pam_sm_authenticate pam_sm_chauthtok pam_sm_close_session pam_sm_open_session pam_sm_setcred'
exported=$(nm -D --defined-only "$file" | awk '{print $3}' | sort | tr '\n' ' ')
[ "$exported" = "$expected " ] || fail "exports $exported; expected $expected"

for forbidden in fork vfork clone pthread_create sigaction signal chdir umask setenv printf puts; do
    nm -D --undefined-only "$file" | awk '{print $2}' | sed 's/@.*//' | grep -qx "$forbidden" &&
        fail "calls $forbidden, which a module must not do to its host"
done

if [ -n "$max_kib" ]; then
    kib=$(($(stat -c %s "$file") / 1024))
    [ "$kib" -le "$max_kib" ] || fail "$kib KiB; the limit is $max_kib KiB"
fi
exit 0
