"""One Cassandra node: start, stop, and whether it is ready."""

import http.client
import json
import signal
import socket
import struct
import time
import urllib.request
from pathlib import Path
from typing import Any

from . import node_conf, ports, proc
from .errors import LabError
from .proc import wait_for

Node = dict[str, Any]
Cluster = dict[str, Any]


def start(cluster: Cluster, node: Node, replace: bool = False) -> None:
    """Spawns the node's process. Its addresses must be free, its JMX port is moved if it is not."""
    if proc.alive(node.get("process")):
        return
    for port in (node_conf.STORAGE_PORT, node_conf.CQL_PORT, node_conf.JOLOKIA_PORT):
        if not ports.is_free(node["address"], port):
            raise LabError(
                f"node {node['index']} of '{cluster['name']}': {node['address']}:{port} is held by a process that is not "
                f"this lab's. Next: end it, or dev/lab down --purge --cluster {cluster['name']} to get other addresses",
                6,
            )
    node["jmx_port"] = ports.choose("jmx", node.get("jmx_port") or 0)
    node_conf.write(cluster, node, replace)
    base = node_conf.folder(cluster["name"], node["index"])
    node["process"] = proc.spawn(
        node_conf.command(cluster, node, replace), base / "console.log", str(base), cwd=str(base)
    )


def stop(nodes: list[Node], kill: bool = False) -> None:
    proc.stop([node.get("process") for node in nodes], signal.SIGKILL if kill else signal.SIGTERM)


def cql_answers(address: str) -> bool:
    """Whether the native port answers an OPTIONS request of the protocol's version 4."""
    try:
        with socket.create_connection((address, node_conf.CQL_PORT), 2) as connection:
            connection.settimeout(5)
            connection.sendall(struct.pack(">BBhBI", 0x04, 0, 0, 0x05, 0))
            header = connection.recv(9, socket.MSG_WAITALL)
            return len(header) == 9 and header[4] == 0x06  # SUPPORTED
    except OSError:
        return False


def jolokia_url(node: Node) -> str:
    # The slash at the end is needed: without it the agent answers 404.
    return f"http://{node['address']}:{node_conf.JOLOKIA_PORT}/jolokia/"


def attributes(node: Node, names: list[str]) -> dict[str, Any]:
    """Attributes of the StorageService bean over Jolokia; empty while there is no answer."""
    body = {"type": "read", "mbean": "org.apache.cassandra.db:type=StorageService", "attribute": names}
    request = urllib.request.Request(jolokia_url(node), json.dumps(body).encode(), {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            document = json.load(answer)
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    value = document.get("value") if document.get("status") == 200 else None
    return value if isinstance(value, dict) else {}


def sees_all_normal(node: Node, addresses: set[str]) -> bool:
    """Whether the node is NORMAL and sees exactly these addresses up, none of them moving: all UN."""
    seen = attributes(node, ["OperationMode", "LiveNodes", "JoiningNodes", "LeavingNodes", "MovingNodes"])
    if seen.get("OperationMode") != "NORMAL" or not addresses <= set(seen.get("LiveNodes") or []):
        return False
    moving = {address for name in ("JoiningNodes", "LeavingNodes", "MovingNodes") for address in seen.get(name) or []}
    return not moving & addresses


def wait_ready(cluster: Cluster, nodes: list[Node], timeout: float = 900) -> None:
    """Waits until these nodes answer CQL and each sees all running nodes of the cluster up and normal."""
    deadline = time.monotonic() + timeout
    running = {node["address"] for node in cluster["nodes"] if proc.alive(node.get("process"))}

    def ready(node: Node) -> bool:
        # One that died while another is waited for would otherwise be noticed only at its turn, or never.
        for other in nodes:
            _refuse_dead(cluster, other)
        return cql_answers(node["address"]) and sees_all_normal(node, running)

    for node in nodes:
        what = f"{_name(cluster, node)}: answering and seeing {len(running)} nodes up and normal"
        wait_for(
            what,
            lambda node=node: ready(node),
            node["process"],
            _log(cluster, node),
            max(1.0, deadline - time.monotonic()),
        )


def _name(cluster: Cluster, node: Node) -> str:
    return f"Cassandra node {node['index']} of '{cluster['name']}' ({node['address']})"


def _log(cluster: Cluster, node: Node) -> Path:
    return node_conf.folder(cluster["name"], node["index"]) / "console.log"


def _refuse_dead(cluster: Cluster, node: Node) -> None:
    if not proc.alive(node["process"]):
        raise LabError(f"{_name(cluster, node)}: the process ended while starting.{proc.tail(_log(cluster, node))}", 9)
