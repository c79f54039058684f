"""Cassandra clusters of the lab: made, started, grown, stopped. Several live side by side.

The k-th cluster has the addresses 127.0.k.1, 127.0.k.2 and so on, all of them loopback, so that every node keeps
Cassandra's own ports and the clusters do not meet.
"""

import re
import shutil
from typing import Any, Optional

from . import install_java, node_conf, node_process, nodetool, paths, ports, proc, tokens
from .errors import LabError
from .progress import say, step
from .state import State

MOST_NODES = 200

# Options of `up` that are settled when the cluster is made, with their defaults.
SETTLED: dict[str, Any] = {
    "nodes": 3,
    "cassandra": "5.0.4",
    "sstable": "big",
    "rf": None,
    "racks": 1,
    "dcs": 1,
    "data_dirs": 1,
    "vnodes": 16,
    "heap": "768m",
    "auth": False,
    "node_options": {},
    "jvm_options": [],
    "control": "jolokia",
}


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,47}", name):
        raise LabError(f"--cluster {name}: use up to 48 of a-z, 0-9, - and _", 2)


def _free_block(taken: set[int], nodes: int) -> int:
    for block in range(256):
        addresses = [f"127.0.{block}.{index}" for index in range(1, nodes + 1)]
        wanted = (node_conf.CQL_PORT, node_conf.STORAGE_PORT, node_conf.JOLOKIA_PORT)
        if block in taken or not ports.claim(f"127.0.{block}.0", node_conf.CQL_PORT):
            continue
        if all(ports.is_free(address, port) for address in addresses for port in wanted):
            return block
    raise LabError("no free block of loopback addresses for another cluster", 9)


def _make(state: State, name: str, asked: dict[str, Any]) -> dict[str, Any]:
    _check_name(name)
    chosen = {key: default if asked.get(key) is None else asked[key] for key, default in SETTLED.items()}
    chosen["cassandra"] = install_java.resolve(chosen["cassandra"])
    nodes = chosen.pop("nodes")
    if not 1 <= nodes <= MOST_NODES:
        raise LabError(f"--nodes {nodes}: between 1 and {MOST_NODES}", 2)
    if chosen["sstable"] == "bti" and not chosen["cassandra"].startswith("5."):
        raise LabError(f"--sstable bti needs Cassandra 5.0, not {chosen['cassandra']}", 2)
    chosen["rf"] = chosen["rf"] or max(1, min(3, nodes // chosen["dcs"]))
    block = _free_block({cluster["block"] for cluster in state.clusters.values()}, nodes)
    cluster: dict[str, Any] = {"name": name, "block": block, **chosen, "nodes": []}
    for index, own in enumerate(tokens.initial(name, nodes, chosen["vnodes"]), start=1):
        cluster["nodes"].append(_node(cluster, index, own, bootstrap=False))
    # One seed a data center.
    seeds = {node["dc"]: node["address"] for node in reversed(cluster["nodes"])}
    cluster["seeds"] = sorted(seeds.values())
    shutil.rmtree(paths.CLUSTERS / name, ignore_errors=True)
    return cluster


def _node(cluster: dict[str, Any], index: int, own: list[int], bootstrap: bool) -> dict[str, Any]:
    """Nodes go round the data centers, and inside each round its racks."""
    place = index - 1
    return {
        "index": index,
        "address": f"127.0.{cluster['block']}.{index}",
        "dc": f"dc{place % cluster['dcs'] + 1}",
        "rack": f"rack{place // cluster['dcs'] % cluster['racks'] + 1}",
        "tokens": own,
        "bootstrap": bootstrap,
        "data_dirs": node_conf.data_dirs(cluster["name"], index, cluster["data_dirs"]),
        "jmx_port": 0,
        "process": None,
    }


def _refuse_changes(cluster: dict[str, Any], asked: dict[str, Any]) -> None:
    for key, value in asked.items():
        present = len(cluster["nodes"]) if key == "nodes" else cluster.get(key)
        value = install_java.resolve(value) if key == "cassandra" and value else value
        if key in SETTLED and value not in (None, present) and key != "control":
            option = "--" + key.replace("_", "-").replace("-options", "-option")
            advice = "dev/lab add-node, or " if key == "nodes" and value > present else ""
            raise LabError(
                f"cluster '{cluster['name']}' was made with {option} {present}, not {value}. Next: leave the option "
                f"out, {advice}dev/lab down --purge --cluster {cluster['name']} first",
                6,
            )


def settle(state: State, name: str, asked: dict[str, Any]) -> dict[str, Any]:
    """The cluster as recorded, or a new record from the options."""
    known = state.clusters.get(name)
    # One that was never started (its release could not be fetched, say) binds nobody.
    if known and any(node["process"] for node in known["nodes"]):
        _refuse_changes(state.clusters[name], asked)
        if asked.get("control"):
            known["control"] = asked["control"]
    else:
        state.clusters[name] = _make(state, name, asked)
        state.save()
    return state.clusters[name]


def start(
    state: State, cluster: dict[str, Any], indexes: Optional[list[int]] = None, replace: bool = False, wait: bool = True
) -> None:
    """Starts the nodes that are down, all at once, and waits until every one of them is ready.

    `replace`: an empty node takes over the place, tokens and data of the dead one at its own address.
    """
    wanted = [node for node in cluster["nodes"] if indexes is None or node["index"] in indexes]
    down = [node for node in wanted if not proc.ready(node.get("process"))]
    if not down:
        return
    install_java.ensure(cluster["cassandra"])
    names = ", ".join(node["address"] for node in down)
    with step(
        f"Cassandra {cluster['cassandra']} '{cluster['name']}': {names} {'up and normal' if wait else 'started'}"
    ):
        for node in down:
            node_process.start(cluster, node, replace)
            state.save()
        if not wait:
            return
        node_process.wait_ready(cluster, down)
        for node in down:
            # It has joined: from now on it starts like any other.
            node["bootstrap"] = False
            node["process"]["ready"] = True
        state.save()
    nodetool.ensure_archive(cluster["cassandra"], down[0], node_conf.folder(cluster["name"], down[0]["index"]))


def add_node(state: State, cluster: dict[str, Any]) -> int:
    """A node joins: it bootstraps its share from the others. Returns its index."""
    index = max(node["index"] for node in cluster["nodes"]) + 1
    present = {node["index"]: node["tokens"] for node in cluster["nodes"]}
    own = tokens.additional(cluster["name"], present, index, len(next(iter(present.values()))))
    cluster["nodes"].append(_node(cluster, index, own, bootstrap=True))
    state.save()
    start(state, cluster, [index])
    return index


def stop(state: State, cluster: dict[str, Any], indexes: Optional[list[int]] = None, kill: bool = False) -> None:
    nodes = [node for node in cluster["nodes"] if indexes is None or node["index"] in indexes]
    running = [node for node in nodes if proc.alive(node.get("process"))]
    if running:
        addresses = ", ".join(node["address"] for node in running)
        with step(f"Cassandra '{cluster['name']}': {'killed' if kill else 'stopped'} {addresses}"):
            node_process.stop(running, kill)
            state.save()


def wipe_node(state: State, cluster: dict[str, Any], node: dict[str, Any]) -> None:
    """The node's machine is lost: it is killed and all its files but the configuration are gone (what a
    worker staged for a restore as well)."""
    stop(state, cluster, [node["index"]], kill=True)
    base = node_conf.folder(cluster["name"], node["index"])
    for name in [*node["data_dirs"], "commitlog", "hints", "saved_caches", "cdc_raw", "ringvault-stage", "ringvault-old"]:
        shutil.rmtree(base / name, ignore_errors=True)
    say(f"node {node['index']} of '{cluster['name']}' has no data any more")
