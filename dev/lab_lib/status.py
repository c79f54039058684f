"""`dev/lab status`: what is there, for people as a table and for programs as one JSON document."""

import json
from pathlib import Path
from typing import Any, Optional

from . import credentials, node_conf, node_process, paths, proc, rabbitmq, ringvault
from .state import State

SCHEMA_VERSION = 1


def _postgres(entry: dict[str, Any]) -> Optional[dict[str, Any]]:
    if not entry.get("port"):
        return None
    return {
        "host": "127.0.0.1",
        "port": entry["port"],
        "url_file": str(credentials.file("postgres-url")),
        "admin_url_file": str(credentials.file("postgres-admin-url")),
        "data_dir": entry["data"],
        "log": entry["log"],
        "pid": proc.pid(entry.get("process")),
    }


def _rabbitmq(entry: dict[str, Any]) -> Optional[dict[str, Any]]:
    if not entry.get("port"):
        return None
    port = entry.get("management_port")
    return {
        "host": "127.0.0.1",
        "port": entry["port"],
        # The scheduler's login; the others are beside it.
        "amqp_url_file": str(credentials.file("rabbitmq-scheduler-url")),
        **{f"{user}_url_file": str(credentials.file(f"rabbitmq-{user}-url")) for user in rabbitmq.PERMISSIONS},
        "management": f"http://127.0.0.1:{port}" if port else None,
        "node": entry["node"],
        "epmd_port": entry["epmd_port"],
        "epmd_pid": proc.pid(entry.get("epmd_process")),
        "data_dir": str(rabbitmq.data()),
        "log": entry["log"],
        "pid": proc.pid(entry.get("process")),
    }


def _store(entry: dict[str, Any]) -> Optional[dict[str, Any]]:
    if not entry.get("url"):
        return None
    s3 = entry["kind"] != "folder"
    return {
        "kind": entry["kind"],
        "url": entry["url"],
        "endpoint": entry.get("endpoint"),
        "region": "us-east-1" if s3 else None,
        "access_key_file": str(credentials.file("s3-access-key")) if s3 else None,
        "secret_key_file": str(credentials.file("s3-secret-key")) if s3 else None,
        "encryption_key_file": str(credentials.file("vault-key")) if entry.get("encrypt") else None,
        "bucket": entry.get("bucket"),
        "folder": entry.get("folder"),
        "log": entry.get("log"),
        "pid": proc.pid(entry.get("process")),
    }


def _scheduler(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "index": entry["index"],
        "id": entry["id"],
        "url": entry.get("url"),
        "pid": proc.pid(entry.get("process")),
        "config": entry.get("config"),
        "log": entry.get("log"),
    }


def _node(cluster: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    base = node_conf.folder(cluster["name"], node["index"])
    worker = node.get("worker")
    return {
        "index": node["index"],
        "address": node["address"],
        "cql_port": node_conf.CQL_PORT,
        "storage_port": node_conf.STORAGE_PORT,
        "jolokia_url": node_process.jolokia_url(node),
        "jmx_port": node["jmx_port"],
        "pid": proc.pid(node.get("process")),
        "dc": node["dc"],
        "rack": node["rack"],
        "tokens": [str(token) for token in node["tokens"]],
        "data_dirs": node["data_dirs"],
        "commitlog_dir": str(base / "commitlog"),
        "conf": str(base / "conf"),
        "nodetool": str(base / "conf" / "nodetool"),
        "log": str(base / "system.log"),
        "console_log": str(base / "console.log"),
        "worker": worker
        and {
            "pid": proc.pid(worker.get("process")),
            "config": worker["config"],
            "log": worker["log"],
            "state_dir": worker["state_dir"],
        },
    }


def _cluster(cluster: dict[str, Any]) -> dict[str, Any]:
    kept = (
        "cassandra",
        "sstable",
        "rf",
        "racks",
        "dcs",
        "control",
        "heap",
        "auth",
        "seeds",
        "node_options",
        "jvm_options",
    )
    return {**{name: cluster[name] for name in kept}, "nodes": [_node(cluster, node) for node in cluster["nodes"]]}


def document(state: State) -> dict[str, Any]:
    schedulers = [_scheduler(entry) for entry in state.services.get("schedulers", [])]
    first = next((entry for entry in schedulers if entry["pid"]), schedulers[0] if schedulers else None)
    return {
        "schema_version": SCHEMA_VERSION,
        "lab_dir": str(paths.LAB),
        "services": {
            "postgres": _postgres(state.services.get("postgres", {})),
            "rabbitmq": _rabbitmq(state.services.get("rabbitmq", {})),
            "store": _store(state.services.get("store", {})),
            "schedulers": schedulers,
        },
        "server": first and first["url"],
        "token_file": str(credentials.file("api-admin-token")),
        "signing_key_file": str(credentials.file("signing-key")),
        "bin_dir": str(ringvault.bin_dir()),
        "clusters": {name: _cluster(cluster) for name, cluster in state.clusters.items()},
    }


def logs(state: State) -> dict[str, Path]:
    """Every log by the name `dev/lab logs` takes."""
    found: dict[str, Path] = {}
    for name in ("postgres", "rabbitmq", "store"):
        if state.services.get(name, {}).get("log"):
            found[name] = Path(state.services[name]["log"])
    for entry in state.services.get("schedulers", []):
        if entry.get("log"):
            found[f"scheduler{entry['index']}"] = Path(entry["log"])
    for cluster in state.clusters.values():
        for node in cluster["nodes"]:
            base = node_conf.folder(cluster["name"], node["index"])
            found[f"{cluster['name']}/node{node['index']}"] = base / "system.log"
            found[f"{cluster['name']}/console{node['index']}"] = base / "console.log"
            if node.get("worker"):
                found[f"{cluster['name']}/worker{node['index']}"] = Path(node["worker"]["log"])
    return found


def _pid(value: Optional[int]) -> str:
    return f"pid {value}" if value else "down"


def show(state: State) -> str:
    """The table for people."""
    seen = document(state)
    services = seen["services"]
    rows: list[list[str]] = [["SERVICE", "STATE", "WHERE", "CREDENTIALS"]]
    if services["postgres"]:
        entry = services["postgres"]
        rows.append(["postgres", _pid(entry["pid"]), f"127.0.0.1:{entry['port']}", entry["url_file"]])
    if services["rabbitmq"]:
        entry = services["rabbitmq"]
        rows.append(["rabbitmq", _pid(entry["pid"]), f"127.0.0.1:{entry['port']}", entry["amqp_url_file"]])
    if services["store"]:
        entry = services["store"]
        state_text = "folder" if entry["kind"] == "folder" else _pid(entry["pid"])
        rows.append([entry["kind"], state_text, entry["endpoint"] or entry["folder"], entry["access_key_file"] or "-"])
    for entry in services["schedulers"]:
        rows.append([entry["id"], _pid(entry["pid"]), entry["url"] or "-", seen["token_file"]])
    lines = _table(rows)
    rows = [["CLUSTER", "NODE", "STATE", "CQL", "JMX", "PLACE", "WORKER", "CASSANDRA"]]
    for name, cluster in seen["clusters"].items():
        for node in cluster["nodes"]:
            rows.append(
                [
                    name,
                    str(node["index"]),
                    _pid(node["pid"]),
                    f"{node['address']}:{node['cql_port']}",
                    str(node["jmx_port"]),
                    f"{node['dc']}/{node['rack']}",
                    _pid(node["worker"]["pid"]) if node["worker"] else "-",
                    f"{cluster['cassandra']} {cluster['sstable']}",
                ]
            )
    return (
        "\n".join(lines + [""] + _table(rows)) if services["postgres"] or rows[1:] else "nothing here. Next: dev/lab up"
    )


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def dumps(state: State) -> str:
    return json.dumps(document(state), indent=1)
