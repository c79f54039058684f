#!/bin/sh
# What the official image's entrypoint and cassandra-env.sh do with their variables, as far as docker-compose.yml uses them.
set -eu
data=/var/lib/cassandra
if [ "$(id -u)" = 0 ]; then
    chown cassandra:cassandra "$data" "$CASSANDRA_CONF"
    exec setpriv --reuid=cassandra --regid=cassandra --clear-groups -- "$0" "$@"
fi
address=${CASSANDRA_LISTEN_ADDRESS:-$(hostname -i | cut -d' ' -f1)}
cat > "$CASSANDRA_CONF/cassandra.yaml" <<END
cluster_name: "${CASSANDRA_CLUSTER_NAME:-Test Cluster}"
num_tokens: ${CASSANDRA_NUM_TOKENS:-16}
allocate_tokens_for_local_replication_factor: 3
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: ${CASSANDRA_ENDPOINT_SNITCH:-SimpleSnitch}
seed_provider: [{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{seeds: "${CASSANDRA_SEEDS:-$address}"}]}]
listen_address: $address
rpc_address: 0.0.0.0
broadcast_rpc_address: $address
data_file_directories: [$data/data]
commitlog_directory: $data/commitlog
hints_directory: $data/hints
saved_caches_directory: $data/saved_caches
cdc_raw_directory: $data/cdc_raw
commitlog_sync: periodic
commitlog_sync_period: 10000ms
disk_failure_policy: stop
materialized_views_enabled: true
END
printf 'dc=%s\nrack=%s\n' "${CASSANDRA_DC:-dc1}" "${CASSANDRA_RACK:-rack1}" > "$CASSANDRA_CONF/cassandra-rackdc.properties"
cat > "$CASSANDRA_CONF/logback.xml" <<'END'
<configuration><appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
<encoder><pattern>%-5level [%thread] %date{ISO8601} %F:%L - %msg%n</pattern></encoder></appender>
<root level="INFO"><appender-ref ref="STDOUT"/></root></configuration>
END
# JVM_EXTRA_OPTS is a list of words.
# shellcheck disable=SC2086
exec java "-Xms${MAX_HEAP_SIZE:-1024M}" "-Xmx${MAX_HEAP_SIZE:-1024M}" -Xss512k -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError \
    -XX:+PerfDisableSharedMem -Djava.security.manager=allow -Djdk.attach.allowAttachSelf=true @/opt/cassandra/jvm.options \
    "-javaagent:$(echo /opt/cassandra/lib/jamm-*.jar)" "-Dcassandra.config=file://$CASSANDRA_CONF/cassandra.yaml" \
    "-Dcassandra.storagedir=$data" -Dcassandra.jmx.local.port=7199 -Dcassandra-foreground=yes ${JVM_EXTRA_OPTS:-} \
    -cp "$CASSANDRA_CONF:/opt/cassandra/lib/*" org.apache.cassandra.service.CassandraDaemon
