"""The files a node is started with: cassandra.yaml, rack, logging, command lines of the server and of nodetool.

What is set, and why, follows the release's own cassandra.yaml; whatever is left out keeps Cassandra's default.
"""

import json
from pathlib import Path
from typing import Any

from . import install_java, java, java_flags, nodetool, paths

CQL_PORT = 9042
STORAGE_PORT = 7000
JOLOKIA_PORT = 8778

# What makes a node boot in seconds: no waiting for a gossip that is known to be small and near. The delay is no
# pause here, but how long a node looks for a seed before it gives up: all nodes start at once, the seed may be slow.
_FAST = ["-Dcassandra.ring_delay_ms=300000", "-Dcassandra.skip_wait_for_gossip_to_settle=0"]
# Never for a node that joins: before gossip has settled it knows of no schema, so it would find nothing to stream
# and join empty, without an error (seen on 5.0.4).
_CAREFUL = ["-Dcassandra.ring_delay_ms=10000"]

_LOGBACK = """<configuration scan="false">
  <appender name="FILE" class="ch.qos.logback.core.FileAppender">
    <file>{file}</file>
    <encoder><pattern>%-5level [%thread] %date{{"yyyy-MM-dd'T'HH:mm:ss,SSS'Z'",UTC}} %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level="{level}"><appender-ref ref="FILE"/></root>
</configuration>
"""


def folder(cluster: str, index: int) -> Path:
    return paths.CLUSTERS / cluster / f"node{index}"


def data_dirs(cluster: str, index: int, count: int) -> list[str]:
    base = folder(cluster, index)
    return [str(base / ("data" if number == 1 else f"data{number}")) for number in range(1, count + 1)]


def _yaml(cluster: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    base = folder(cluster["name"], node["index"])
    options: dict[str, Any] = {
        "cluster_name": cluster["name"],
        "num_tokens": len(node["tokens"]),
        "initial_token": ",".join(map(str, node["tokens"])),
        "auto_bootstrap": node["bootstrap"],
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "GossipingPropertyFileSnitch",
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": ",".join(cluster["seeds"])}],
            }
        ],
        "listen_address": node["address"],
        "rpc_address": node["address"],
        "native_transport_port": CQL_PORT,
        "storage_port": STORAGE_PORT,
        "data_file_directories": node["data_dirs"],
        "commitlog_directory": str(base / "commitlog"),
        "hints_directory": str(base / "hints"),
        "saved_caches_directory": str(base / "saved_caches"),
        "cdc_raw_directory": str(base / "cdc_raw"),
        "commitlog_sync": "periodic",
        "commitlog_sync_period": "10000ms",
        "commitlog_total_space": "1024MiB",
        "disk_failure_policy": "stop",
        "commit_failure_policy": "stop",
        "default_keyspace_rf": cluster["rf"],
        "materialized_views_enabled": True,
        "user_defined_functions_enabled": True,
        # As in cassandra_latest.yaml: the new format comes with the new identifiers.
        "uuid_sstable_identifiers_enabled": cluster["sstable"] == "bti",
        "auto_snapshot": True,
        "authenticator": "PasswordAuthenticator" if cluster["auth"] else "AllowAllAuthenticator",
        "authorizer": "CassandraAuthorizer" if cluster["auth"] else "AllowAllAuthorizer",
    }
    if cluster["cassandra"].startswith("5."):
        bti = cluster["sstable"] == "bti"
        options["storage_compatibility_mode"] = "NONE" if bti else "CASSANDRA_4"
        options["sstable"] = {"selected_format": "bti" if bti else "big"}
    options.update(cluster["node_options"])
    return options


def write(cluster: dict[str, Any], node: dict[str, Any], replace: bool = False) -> None:
    """Writes the node's conf folder; called before every start, so that it always follows the state."""
    base = folder(cluster["name"], node["index"])
    conf = base / "conf"
    # JSON is YAML, so nothing here needs a YAML writer.
    options = _yaml(cluster, node)
    if replace:
        # It takes the tokens of the node it replaces, and must stream their data.
        del options["initial_token"]
        options["auto_bootstrap"] = True
    lines = [f"{name}: {json.dumps(value)}" for name, value in options.items()]
    paths.write(conf / "cassandra.yaml", "\n".join(lines) + "\n")
    paths.write(conf / "cassandra-rackdc.properties", f"dc={node['dc']}\nrack={node['rack']}\n")
    paths.write(conf / "logback.xml", _LOGBACK.format(file=base / "system.log", level="INFO"))
    paths.write(conf / "logback-tools.xml", _LOGBACK.format(file=base / "tools.log", level="WARN"))
    nodetool.write(cluster["cassandra"], node, base)
    for name in [*node["data_dirs"], *(str(base / sub) for sub in ("commitlog", "hints", "saved_caches", "cdc_raw"))]:
        paths.make(Path(name), 0o755)


def command(cluster: dict[str, Any], node: dict[str, Any], replace: bool = False) -> list[str]:
    """The server's command line, in the foreground."""
    version = cluster["cassandra"]
    base = folder(cluster["name"], node["index"])
    agent = f"{install_java.jolokia_jar(version)}=host={node['address']},port={JOLOKIA_PORT},discoveryEnabled=false"
    return [
        str(java.program()),
        f"-Xms{cluster['heap']}",
        f"-Xmx{cluster['heap']}",
        "-Xss512k",
        "-XX:+UseG1GC",
        # Without the second compiler a node boots with half the CPU time (11 s instead of 20 s, measured), and nothing
        # here runs for long enough to miss it. --jvm-option=-XX:TieredStopAtLevel=4 brings it back.
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+PerfDisableSharedMem",
        f"-XX:ErrorFile={base}/hs_err.log",
        "-Djava.net.preferIPv4Stack=true",
        "-Djdk.attach.allowAttachSelf=true",
        *(["-Djava.security.manager=allow"] if java.major() >= 17 else []),
        f"-Djava.io.tmpdir={paths.make(base / 'tmp')}",
        f"-Djna.tmpdir={base / 'tmp'}",
        *java_flags.modules(),
        f"-javaagent:{install_java.jamm_jar(version)}",
        f"-javaagent:{agent}",
        f"-Dcassandra.config=file://{base}/conf/cassandra.yaml",
        f"-Dcassandra.storagedir={base}",
        f"-Dcassandra.jmx.local.port={node['jmx_port']}",
        "-Dcassandra-foreground=yes",
        "-Dcassandra.superuser_setup_delay_ms=0",
        *(_CAREFUL if replace or node["bootstrap"] else _FAST),
        f"-Dcassandra.system_auth.default_rf={cluster['rf']}",
        *([f"-Dcassandra.replace_address_first_boot={node['address']}"] if replace else []),
        *cluster["jvm_options"],
        "-cp",
        f"{base}/conf:{install_java.library(version)}/*",
        "org.apache.cassandra.service.CassandraDaemon",
    ]
