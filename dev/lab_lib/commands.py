"""The commands beside `up` and `down`: looking at the lab, talking to it, breaking and mending single parts of it."""

import argparse
import os
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from . import cluster as clusters
from . import (
    credentials,
    install_browser,
    install_clients,
    install_go,
    install_medusa,
    install_npm,
    install_program,
    install_python,
    install_smtp,
    node_conf,
    paths,
    postgres,
    proc,
    rabbitmq,
    ringvault,
    schedulers,
    workers,
)
from . import status as views
from .errors import LabError
from .progress import say
from .state import State, exclusive, load


def status(options: argparse.Namespace) -> int:
    state = load()
    print(views.dumps(state) if options.json else views.show(state))
    return 0


# What tests start by themselves: object stores, what drives a browser, clients in other languages.
_OTHERS = {
    install_npm.AZURITE: install_npm.ensure_azurite,
    install_npm.OPENID: install_npm.ensure_openid,
    install_browser.NAME: install_browser.ensure,
    install_smtp.NAME: install_smtp.ensure,
    install_medusa.PROGRAM: install_medusa.ensure,
    install_clients.GO: install_clients.ensure_go,
    install_clients.JAVA: install_clients.ensure_java,
    **{name: partial(install_program.ensure, name) for name in install_program.PACKAGES},
}
TOOLS = [*install_go.MODULES, *_OTHERS]


def tool(options: argparse.Namespace) -> int:
    if options.name in _OTHERS:
        print(_OTHERS[options.name]())
        return 0
    print(install_go.ensure(options.name))
    return 0


def env(options: argparse.Namespace) -> int:
    seen = views.document(load())
    if not seen["server"]:
        raise LabError("this lab has no scheduler. Next: dev/lab up", 5)
    print(f"export RINGVAULT_SERVER={shlex.quote(seen['server'])}")
    print(f"export RINGVAULT_TOKEN_FILE={shlex.quote(seen['token_file'])}")
    # First, so that it is this lab's program also where another is installed.
    print(f'export PATH={shlex.quote(seen["bin_dir"])}:"$PATH"')
    return 0


def logs(options: argparse.Namespace) -> int:
    found = views.logs(load())
    if not options.name:
        for name, path in found.items():
            print(f"{name:24} {path}")
        return 0
    # A bare `node1` means the only cluster's, if there is only one that has it.
    names = [name for name in found if name == options.name or name.endswith("/" + options.name)]
    if len(names) != 1:
        what = "several logs" if names else "no log"
        raise LabError(f"{what} named '{options.name}'. There are: {', '.join(found) or 'none'}", 5)
    command = ["tail", "-n", str(options.lines)] + (["-F"] if options.follow else []) + [str(found[names[0]])]
    os.execvp(command[0], command)


def _the_cluster(state: State, options: argparse.Namespace) -> dict[str, Any]:
    return state.cluster(options.cluster)


def add_node(options: argparse.Namespace) -> int:
    with exclusive() as state:
        cluster = _the_cluster(state, options)
        index = clusters.add_node(state, cluster)
        if any(proc.alive(entry.get("process")) for entry in state.services.get("schedulers", [])):
            workers.start(state, cluster, [index])
        say(f"node {index} of '{cluster['name']}' has joined")
    return 0


def start_node(options: argparse.Namespace) -> int:
    with exclusive() as state:
        state.node(options.cluster, options.node)
        clusters.start(state, _the_cluster(state, options), [options.node], options.replace, not options.no_wait)
    return 0


def stop_node(options: argparse.Namespace) -> int:
    with exclusive() as state:
        state.node(options.cluster, options.node)
        clusters.stop(state, _the_cluster(state, options), [options.node], options.kill)
    return 0


def wipe_node(options: argparse.Namespace) -> int:
    with exclusive() as state:
        node = state.node(options.cluster, options.node)
        cluster = _the_cluster(state, options)
        if options.worker:
            workers.wipe(cluster, node)
        clusters.wipe_node(state, cluster, node)
    return 0


def worker(options: argparse.Namespace) -> int:
    """start-worker, stop-worker, restart-worker."""
    with exclusive() as state:
        state.node(options.cluster, options.node)
        cluster = _the_cluster(state, options)
        if options.action != "start":
            workers.stop(cluster, [options.node], options.kill)
        if options.action != "stop":
            workers.start(state, cluster, [options.node], not options.no_wait)
    return 0


def scheduler(options: argparse.Namespace) -> int:
    """start-scheduler, stop-scheduler, restart-scheduler."""
    with exclusive() as state:
        entry = state.scheduler(options.node)
        if options.action != "start":
            schedulers.stop(state, options.node, options.kill)
        if options.action != "stop":
            schedulers.start(state, entry, not options.no_wait)
    return 0


def nodetool(options: argparse.Namespace) -> int:
    node = load().node(options.cluster, options.node)
    script = node_conf.folder(options.cluster, node["index"]) / "conf" / "nodetool"
    if not proc.alive(node.get("process")):
        raise LabError(
            f"node {node['index']} of '{options.cluster}' is down. Next: dev/lab start-node {node['index']}", 9
        )
    os.execv(str(script), [str(script), *options.arguments])


def cql(options: argparse.Namespace) -> int:
    state = load()
    cluster = state.cluster(options.cluster)
    running = [node for node in cluster["nodes"] if proc.alive(node.get("process"))]
    node = state.node(options.cluster, options.node) if options.node else next(iter(running), None)
    if node is None or not proc.alive(node.get("process")):
        raise LabError(f"no such node of '{options.cluster}' is running. Next: dev/lab status", 9)
    if options.execute is not None and options.file:
        raise LabError("give either -e or a file", 2)
    install_python.ensure()
    command = [str(install_python.interpreter()), str(Path(__file__).with_name("cql_client.py"))]
    command += ["--json"] if options.json else []
    command += ["--consistency", options.consistency]
    command += ["--keyspace", options.keyspace] if options.keyspace else []
    command += ["--user", "cassandra", "--password", "cassandra"] if cluster["auth"] else []
    command += [node["address"], str(node_conf.CQL_PORT)]
    if options.execute is not None:
        return subprocess.run(command, input=options.execute.encode()).returncode
    if options.file and options.file != "-":
        try:
            with open(options.file, "rb") as text:
                return subprocess.call(command, stdin=text)
        except OSError as error:
            raise LabError(f"cannot read {options.file}: {error.strerror}", 2) from None
    return subprocess.call(command, stdin=sys.stdin)


def python(options: argparse.Namespace) -> int:
    install_python.ensure()
    interpreter = str(install_python.interpreter())
    os.execv(interpreter, [interpreter, *options.arguments])


def psql(options: argparse.Namespace) -> int:
    url = credentials.file("postgres-admin-url" if options.admin else "postgres-url")
    if not url.exists():
        raise LabError("this lab has no PostgreSQL yet. Next: dev/lab up", 5)
    command, environment = postgres.psql(url.read_text().strip(), options.arguments)
    os.execve(command[0], command, environment)


def rabbitmqctl(options: argparse.Namespace) -> int:
    return rabbitmq.control(load(), options.arguments)


def build(options: argparse.Namespace) -> int:
    ringvault.build()
    print(paths.target_dir() / ringvault.bin_dir().name)
    return 0
