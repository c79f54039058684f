"""The workers: one beside every Cassandra node, with a folder of its own under the node's."""

import shutil
import time
from pathlib import Path
from typing import Any, Optional

from . import credentials, node_conf, node_process, paths, proc, ringvault
from .progress import step
from .state import State


def _folder(cluster: dict[str, Any], node: dict[str, Any]) -> Path:
    return node_conf.folder(cluster["name"], node["index"]) / "worker"


def _offline(cluster: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """How the worker stops and starts its node: by this lab, which is told where it is by the environment."""
    base = node_conf.folder(cluster["name"], node["index"])
    lab = ["env", f"RINGVAULT_LAB_DIR={paths.LAB}", str(paths.REPOSITORY / "dev" / "lab")]
    which = [str(node["index"]), "--cluster", cluster["name"]]
    return {
        "stop_command": [*lab, "stop-node", *which],
        "start_command": [*lab, "start-node", *which, "--no-wait"],
        "commitlog_dir": str(base / "commitlog"),
        "saved_caches_dir": str(base / "saved_caches"),
        "hints_dir": str(base / "hints"),
        "log_file": str(base / "system.log"),
        "command_timeout_seconds": 180,
    }


def _write(state: State, cluster: dict[str, Any], node: dict[str, Any]) -> Path:
    folder = _folder(cluster, node)
    conf = node_conf.folder(cluster["name"], node["index"]) / "conf"
    own: dict[str, Any] = {
        "cql": f"{node['address']}:{node_conf.CQL_PORT}",
        "control": cluster["control"],
        "jolokia_url": node_process.jolokia_url(node),
        "nodetool": [str(conf / "nodetool")],
        "data_dirs": node["data_dirs"],
        "offline": _offline(cluster, node),
    }
    if cluster["auth"]:
        own.update(username="cassandra", password_file=str(credentials.keep("cassandra-password", "cassandra")))
    document = {
        "cluster": cluster["name"],
        "state_dir": str(paths.make(folder / "state")),
        "rabbitmq": {"url_file": ringvault.rabbitmq_url_file("worker")},
        **ringvault.vault_tables(state),
        "signing": {"key_file": str(ringvault.signing_key_file())},
        "cassandra": own,
        "worker": {"slots": 4, "capabilities": ["vault.delete"]},
    }
    return paths.write(folder / "worker.toml", ringvault.with_options(state, "worker", document))


def _live(state: State, name: str) -> list[dict[str, Any]]:
    """The nodes of the cluster whose worker the schedulers call live."""
    for entry in state.services.get("schedulers", []):
        if proc.alive(entry.get("process")):
            token = ringvault.admin_token_file().read_text().strip()
            status, document = ringvault.get(f"{entry['url']}/v1/clusters/{name}/nodes", token)
            if status == 200 and isinstance(document, dict):
                return [node for node in document.get("items", []) if node.get("state") == "live"]
    return []


def _all_live(state: State, cluster: dict[str, Any], started: int, since: str) -> bool:
    """Whether every worker that runs is live, and `started` of them were heard since they were started.

    Without the second a worker that was just restarted would count for what it said before.
    """
    running = sum(1 for node in cluster["nodes"] if proc.alive(node.get("worker", {}).get("process")))
    live = _live(state, cluster["name"])
    fresh = [node for node in live if str(node.get("last_seen") or since)[:19] >= since]
    return len(live) >= running and len(fresh) >= started


def start(state: State, cluster: dict[str, Any], indexes: Optional[list[int]] = None, wait: bool = True) -> None:
    """Starts the workers that are down and waits until the scheduler, if one runs, has heard all of them."""
    wanted = [node for node in cluster["nodes"] if indexes is None or node["index"] in indexes]
    down = [node for node in wanted if not proc.ready(node.get("worker", {}).get("process"))]
    if not down:
        return
    proc.stop([node.get("worker", {}).get("process") for node in down])
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    with step(
        f"workers of '{cluster['name']}': {', '.join(str(node['index']) for node in down)} {'live' if wait else 'started'}"
    ):
        for node in down:
            config = _write(state, cluster, node)
            log = _folder(cluster, node) / "worker.log"
            process = ringvault.spawn("ringvault-worker", config, log)
            node["worker"] = {
                "process": process,
                "config": str(config),
                "log": str(log),
                "state_dir": str(log.parent / "state"),
            }
            state.save()
        # Without a scheduler nobody can say whether they live.
        heard = any(proc.alive(entry.get("process")) for entry in state.services.get("schedulers", []))
        for node in down if wait and heard else []:
            what = f"worker {node['index']} of '{cluster['name']}': known to the scheduler as live"
            worker = node["worker"]
            proc.wait_for(
                what, lambda: _all_live(state, cluster, len(down), since), worker["process"], Path(worker["log"])
            )
        for node in down:
            node["worker"]["process"]["ready"] = True
        state.save()


def stop(cluster: dict[str, Any], indexes: Optional[list[int]] = None, kill: bool = False) -> None:
    nodes = [node for node in cluster["nodes"] if indexes is None or node["index"] in indexes]
    ringvault.stop([(f"worker {node['index']} of '{cluster['name']}'", node.get("worker", {})) for node in nodes], kill)


def wipe(cluster: dict[str, Any], node: dict[str, Any]) -> None:
    """The worker's memory is lost with its machine: it comes back as a worker nobody knows."""
    stop(cluster, [node["index"]], kill=True)
    shutil.rmtree(_folder(cluster, node) / "state", ignore_errors=True)
