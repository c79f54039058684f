#!/bin/sh
# Makes keys, passwords and configuration for docker-compose.yml, once, into the folder given.
set -eu
to=$1
[ -e "$to/done" ] && exit 0
umask 022
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
random > "$to/signing-key"
random > "$to/admin-token"
echo "postgres://ringvault:${POSTGRES_PASSWORD}@postgres/ringvault" > "$to/postgres"
echo "amqp://ringvault:${RABBITMQ_PASSWORD}@rabbitmq/%2f" > "$to/amqp"
printf %s "$S3_ACCESS_KEY" > "$to/access-key"
printf %s "$S3_SECRET_KEY" > "$to/secret-key"
vault='[vault]
url = "s3://ringvault/backups"
endpoint = "http://store:7070"
region = "us-east-1"
path_style = true
access_key_file = "/etc/ringvault/access-key"
secret_key_file = "/etc/ringvault/secret-key"'
common='[rabbitmq]
url_file = "/etc/ringvault/amqp"
[signing]
key_file = "/etc/ringvault/signing-key"'
for id in sched-1 sched-2; do
    cat > "$to/$id.toml" <<END
id = "$id"
listen = "0.0.0.0:8780"
[postgres]
url_file = "/etc/ringvault/postgres"
[api]
admin_token_file = "/etc/ringvault/admin-token"
$common
$vault
END
done
cat > "$to/worker.toml" <<END
cluster = "demo"
state_dir = "/var/lib/cassandra/ringvault"
$common
$vault
[cassandra]
cql = "127.0.0.1:9042"
control = "nodetool"
nodetool = ["nodetool"]
data_dirs = ["/var/lib/cassandra/data"]
[worker]
capabilities = ["vault.delete"]
END
touch "$to/done"
