#!/bin/sh
set -eu
if [ "$(id -u)" = 0 ]; then
    printf 'default_user = %s\ndefault_pass = %s\nlog.console = true\nlog.file = false\n' \
        "${RABBITMQ_DEFAULT_USER:-guest}" "${RABBITMQ_DEFAULT_PASS:-guest}" > /etc/rabbitmq/rabbitmq.conf
    chown rabbitmq:rabbitmq /var/lib/rabbitmq /etc/rabbitmq/rabbitmq.conf
    exec setpriv --reuid=rabbitmq --regid=rabbitmq --clear-groups -- "$0" "$@"
fi
# Erlang makes tables for as many files as it may open.
ulimit -n 65536 2>/dev/null || true
export HOME=/var/lib/rabbitmq
exec /usr/lib/rabbitmq/bin/rabbitmq-server
