#!/bin/sh
# Makes keys, passwords and configuration for docker-compose.yml, once: for schedulers in the first folder given, for
# workers in the second, each readable by its own user alone; and a bucket in the third, which is the S3 server's root.
set -eu
schedulers=$1 workers=$2 store=$3
mkdir -p "$store/ringvault"
[ -e "$schedulers/done" ] && exit 0
umask 077
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

random > "$schedulers/admin-token"
echo "postgres://ringvault:${POSTGRES_PASSWORD}@postgres/ringvault" > "$schedulers/postgres"
random > "$schedulers/signing-key"
for to in "$schedulers" "$workers"; do
    [ "$to" = "$schedulers" ] || cp "$schedulers/signing-key" "$to/"
    echo "amqp://ringvault:${RABBITMQ_PASSWORD}@rabbitmq/%2f" > "$to/amqp"
    printf %s "$S3_ACCESS_KEY" > "$to/access-key"
    printf %s "$S3_SECRET_KEY" > "$to/secret-key"
done

common='[rabbitmq]
url_file = "/etc/ringvault/amqp"
[signing]
key_file = "/etc/ringvault/signing-key"
[vault]
url = "s3://ringvault/backups"
endpoint = "http://store:7070"
region = "us-east-1"
path_style = true
access_key_file = "/etc/ringvault/access-key"
secret_key_file = "/etc/ringvault/secret-key"'
cat > "$schedulers/scheduler.toml" <<END
# The id is given by RINGVAULT_SCHEDULER_ID.
listen = "0.0.0.0:8780"
[postgres]
url_file = "/etc/ringvault/postgres"
[api]
admin_token_file = "/etc/ringvault/admin-token"
$common
END
cat > "$workers/worker.toml" <<END
cluster = "demo"
state_dir = "/var/lib/cassandra/ringvault"
$common
[cassandra]
cql = "127.0.0.1:9042"
control = "nodetool"
nodetool = ["nodetool"]
data_dirs = ["/var/lib/cassandra/data"]
[metrics]
listen = "0.0.0.0:9470"
[worker]
capabilities = ["vault.delete"]
END
chown -R 65532:65532 "$schedulers"
chown -R 999:999 "$workers"
touch "$schedulers/done"
