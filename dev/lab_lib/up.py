"""`dev/lab up`: installs what is missing, starts what is down, all of it side by side where it can be."""

import argparse
import contextlib
import os
import shutil
from pathlib import Path
from typing import Any, Callable, Optional

from . import cluster as clusters
from . import (
    credentials,
    install_apt,
    install_go,
    install_python,
    java,
    paths,
    postgres,
    proc,
    rabbitmq,
    ringvault,
    schedulers,
    store,
    workers,
)
from .progress import say, step, together
from .state import State, exclusive


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    asked = {key: getattr(options, key, None) for key in clusters.SETTLED}
    asked["node_options"] = dict(options.node_option) if options.node_option else None
    asked["jvm_options"] = options.jvm_option
    asked["auth"] = options.auth or None
    return asked


def _services_up(state: State) -> bool:
    services = state.services
    wanted = [services.get("postgres", {}).get("process"), services.get("rabbitmq", {}).get("process")]
    if services["store"]["kind"] != "folder":
        wanted.append(services["store"].get("process"))
    return all(map(proc.ready, wanted)) and bool(services["store"].get("url"))


def _ringvault_up(state: State, cluster: Optional[dict[str, Any]]) -> bool:
    wanted = [entry.get("process") for entry in state.services.get("schedulers", [])] or [None]
    wanted += [node.get("worker", {}).get("process") for node in (cluster["nodes"] if cluster else [])]
    return all(map(proc.ready, wanted))


def _toolchain_note(with_cassandra: bool) -> None:
    """Where, and on which Java, in one line: the first thing to know when a lab behaves differently elsewhere."""
    found = f"; Java {java.major()} in {java.home()}" if with_cassandra else ""
    say(f"lab in {paths.LAB}{found}")


def run(options: argparse.Namespace) -> int:
    with exclusive() as state:
        store.choose(state, options.store, options.s3, options.encrypt, options.lock)
        cluster = None if options.services_only else clusters.settle(state, options.cluster, _asked(options))
        with_ringvault = not options.no_ringvault
        if with_ringvault:
            schedulers.settle(state, options.schedulers)
            ringvault.settle_options(state, options.scheduler_option, options.worker_option)
        nodes_up = cluster is None or all(proc.ready(node["process"]) for node in cluster["nodes"])
        if (
            _services_up(state)
            and nodes_up
            and install_python.ready()
            and (not with_ringvault or _ringvault_up(state, cluster))
        ):
            say("everything is up already")
            return 0
        _start(state, cluster, with_ringvault, options)
        say("up. Next: dev/lab status")
    return 0


def install(options: argparse.Namespace) -> int:
    """What Debian has for building Ringvault, and for running all of the lab; starts nothing."""
    if options.build_only:
        packages = install_apt.rust_packages()
    else:
        packages = install_apt.missing_packages(True, install_go.needs_go("versitygw"), True)
        if options.chaos and not list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")):
            packages.append("faketime")
    install_apt.ensure(packages)
    return 0


def _start(state: State, cluster: Optional[dict[str, Any]], with_ringvault: bool, options: argparse.Namespace) -> None:
    needs_go = install_go.needs_go(state.services["store"]["kind"])
    builds = with_ringvault and not options.no_build
    install_apt.ensure(install_apt.missing_packages(cluster is not None, needs_go, builds))
    _toolchain_note(cluster is not None)
    # Every secret is made here, once, before threads that need the same one run.
    ringvault.signing_key_file()
    ringvault.vault_key_file()
    ringvault.admin_token_file()
    for name in ["postgres-password", "postgres-admin-password", "rabbitmq-cookie"]:
        credentials.secret(name)
    for user in rabbitmq.PERMISSIONS:
        credentials.secret(f"rabbitmq-{user}-password")
    store.keys()
    state.save()
    tasks: list[Callable[[], None]] = [
        lambda: postgres.up(state),
        lambda: rabbitmq.up(state, options.management),
        lambda: store.up(state),
        install_python.ensure,
    ]
    if cluster is not None:
        tasks.append(lambda: clusters.start(state, cluster))
    if with_ringvault and not _ringvault_up(state, cluster):
        tasks.append(ringvault.ensure_built if options.no_build else ringvault.build)
    together(*tasks)
    if with_ringvault:
        for entry in state.services["schedulers"]:
            schedulers.start(state, entry)
        if cluster is not None:
            workers.start(state, cluster)


def down(options: argparse.Namespace) -> int:
    with exclusive() as state:
        names = [options.cluster] if options.cluster else list(state.clusters)
        for name in names:
            state.cluster(name)
        together(*[lambda name=name: workers.stop(state.cluster(name)) for name in names] or [lambda: None])
        if not options.cluster:
            schedulers.stop(state)
        tasks: list[Callable[[], None]] = [
            lambda name=name: clusters.stop(state, state.cluster(name)) for name in names
        ]
        if not options.cluster:
            tasks.append(lambda: _services_down(state))
        together(*tasks)
        state.save()
        if options.purge:
            _purge(state, names, everything=not options.cluster)
    return 0


def _services_down(state: State) -> None:
    if any(
        proc.alive(entry.get("process")) or proc.alive(entry.get("epmd_process"))
        for entry in state.services.values()
        if isinstance(entry, dict)
    ):
        with step("PostgreSQL, RabbitMQ, store: stopped"):
            together(lambda: postgres.down(state), lambda: rabbitmq.down(state), lambda: store.down(state))


def _purge(state: State, names: list[str], everything: bool) -> None:
    with step("data deleted"):
        for name in names:
            del state.clusters[name]
            shutil.rmtree(paths.CLUSTERS / name, ignore_errors=True)
        state.save()
        if everything:
            postgres.purge(state)
            # The lock file goes last; whoever waits for it finds an empty lab.
            for path in [*paths.LAB.glob("*")]:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                elif path.name != "lock":
                    path.unlink(missing_ok=True)
            (paths.LAB / "lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                os.rmdir(paths.LAB)
