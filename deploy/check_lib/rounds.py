"""What is tried in the project: rows that go and come back, and how the containers are confined and stopped."""

import json
import subprocess
import time
from contextlib import contextmanager
from typing import Any

from lab_lib import paths
from lab_lib.errors import LabError
from lab_lib.progress import say, step

from .project import NODES, Project, health

WORKERS = [f"worker-{number}" for number in range(1, NODES + 1)]
SCHEDULERS = ["sched-1", "sched-2"]


class Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str):
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)


def data(project: Project, verb: str, *arguments: str) -> dict[str, Any]:
    """Runs `data.py` in the lab's Python, which has Cassandra's driver, against the nodes' addresses."""
    script = paths.REPOSITORY / "deploy" / "check_lib" / "data.py"
    command = [
        str(paths.REPOSITORY / "dev" / "lab"),
        "python",
        str(script),
        verb,
        ",".join(project.nodes()),
        *arguments,
    ]
    with step(f"rows: {verb}"):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise LabError(f"rows: {verb} ended with {done.returncode}")
    return json.loads(done.stdout)


def wait_for_workers(project: Project) -> None:
    """Until the schedulers know a worker beside every node."""
    with step("workers announce themselves"):
        deadline = time.monotonic() + 180
        while True:
            done = project.compose(
                "exec", "-T", "sched-1", "ringvault", "node", "list", "-c", "demo", "--json", check=False
            )
            nodes = json.loads(done.stdout)["items"] if done.returncode == 0 else []
            if sum(node["worker"] is not None for node in nodes) == NODES:
                return
            if time.monotonic() > deadline:
                raise LabError(f"not {NODES} workers within three minutes: {done.stdout[-2000:]}{done.stderr[-500:]}")
            time.sleep(1)


def there_and_back(project: Project, rows: int, clock: Clock) -> dict[str, Any]:
    """Loads, backs up, verifies, drops, restores and compares every cell."""
    with clock("load"):
        data(project, "load", str(rows))
        before = data(project, "digest")
    with clock("backup"):
        backup = project.ringvault_json("backup", "create", "-c", "demo", "--name", "first", "--wait")
    with clock("verify"):
        project.ringvault("verify", "run", "first", "-c", "demo", "--level", "digest", "--wait")
    with clock("drop"):
        data(project, "drop")
    with clock("restore"):
        project.ringvault("restore", "plan", "--from", "first", "--to", "demo", "--keyspace", "shop")
        restored = project.ringvault_json(
            "restore", "run", "--from", "first", "--to", "demo", "--keyspace", "shop", "--wait"
        )
    with clock("compare"):
        after = data(project, "digest")
    return {
        "rows_before": before["rows"],
        "rows_after": after["rows"],
        "checksum_before": before["checksum"],
        "checksum_after": after["checksum"],
        "backup": backup["backup"],
        "restore_job": restored["id"],
    }


def confined(project: Project) -> None:
    """Every container of ours runs without root, rights, or a file system that can be written to."""
    for service in [*WORKERS, *SCHEDULERS]:
        found = project.container(service)
        host = found["HostConfig"]
        kept = {
            "user": found["Config"]["User"] not in ("", "0", "root"),
            "read-only root": host["ReadonlyRootfs"],
            "no capabilities": host["CapDrop"] == ["ALL"],
            "no new privileges": any("no-new-privileges" in option for option in host["SecurityOpt"] or []),
        }
        broken = [rule for rule, holds in kept.items() if not holds]
        if broken:
            raise LabError(f"{service} is not confined: {', '.join(broken)}")


def stopped_by_signal(project: Project) -> dict[str, float]:
    """SIGTERM while a backup runs: worker and scheduler end by themselves in time, and the backup goes through."""
    started = project.ringvault_json("backup", "create", "-c", "demo", "--mode", "full")
    took = {}
    for service in ["worker-2", "sched-2"]:
        with step(f"stopping {service}"):
            began = time.monotonic()
            project.compose("stop", "-t", "60", service)
            took[service] = round(time.monotonic() - began, 1)
        state = project.container(service)["State"]
        if state["ExitCode"] != 0 or took[service] > 30:
            raise LabError(f"{service} ended with {state['ExitCode']} after {took[service]} s, not with 0 within 30")
    project.compose("start", "worker-2", "sched-2")
    project.ringvault("job", "watch", started["job"])
    shown = project.ringvault_json("backup", "show", started["backup"], "-c", "demo")
    if shown["state"] != "complete":
        raise LabError(f"the backup that went on through it is {shown['state']}, not complete")
    # Reads manifests, for which a root that is read-only has no room.
    project.ringvault("purge", "plan", "-c", "demo", "--keep-last", "1")
    return took


def sick_without_broker(project: Project) -> None:
    """The health checks notice: without the broker workers are alive and not ready, and well again once it is back."""
    project.compose("stop", "rabbitmq")
    with step("health checks notice that the broker is gone"):
        deadline = time.monotonic() + 180
        while health(project.container("worker-1")) == "healthy":
            if time.monotonic() > deadline:
                raise LabError("worker-1 is still called healthy without a broker")
            time.sleep(1)
    alive = project.compose("exec", "-T", "worker-1", "ringvault-worker", "--probe", "live", check=False)
    if alive.returncode:
        raise LabError(f"without a broker a worker is still alive, and says: {alive.stderr}")
    project.compose("start", "rabbitmq")
    project.wait_healthy([*WORKERS, *SCHEDULERS])
    say("and well again")
