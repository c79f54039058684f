"""The compose project of one check: up, asked, and down with its volumes."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from lab_lib import paths
from lab_lib.errors import LabError
from lab_lib.progress import say, step

from .engine import HOME, Engine

NAME = "ringvault-check"
NODES = 3


class Project:
    """`docker-compose.yml` under a name and ports of the check's own."""

    def __init__(self, engine: Engine, heap: str) -> None:
        self.engine = engine
        file = paths.REPOSITORY / "docker-compose.yml"
        self._command = [*engine.compose(), "-p", NAME, "-f", str(file), "--project-directory", str(paths.REPOSITORY)]
        # One compiler and less patience: nodes that start one after the other take a third of the time.
        java = "-XX:TieredStopAtLevel=1 -Dcassandra.ring_delay_ms=10000"
        self._environment = {
            **engine.environment,
            "CASSANDRA_HEAP": heap,
            "CASSANDRA_JVM_EXTRA_OPTS": java,
            # Any that is free.
            "RINGVAULT_PORT_1": "0",
            "RINGVAULT_PORT_2": "0",
        }

    def compose(self, *arguments: str, check: bool = True, timeout: float = 900) -> subprocess.CompletedProcess:
        try:
            done = subprocess.run(
                [*self._command, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"compose {arguments[0]} did not end within {timeout:.0f} s") from None
        if check and done.returncode:
            end = "\n  ".join((done.stdout + done.stderr).splitlines()[-25:])
            raise LabError(f"compose {' '.join(arguments[:6])} ended with {done.returncode}:\n  {end}")
        return done

    def up(self) -> None:
        with step("compose up: three nodes one after the other, and all around them"):
            self.compose("up", "-d", "--no-build")

    def down(self) -> None:
        with step("compose down"):
            self.compose("down", "-v", "--remove-orphans", "-t", "35", check=False)

    def keep_logs(self) -> Path:
        """Every service's log into one file, for who looks at a failure."""
        file = HOME / "compose.log"
        file.write_text(self.compose("logs", "--no-color", "-t", check=False, timeout=120).stdout)
        return file

    def container(self, service: str) -> dict[str, Any]:
        """What the engine says of a service's container."""
        number = self.compose("ps", "-q", service).stdout.strip()
        if not number:
            raise LabError(f"{service} has no container")
        return json.loads(self.engine.run("inspect", number))[0]

    @staticmethod
    def volume(name: str) -> str:
        return f"{NAME}_{name}"

    def address(self, service: str) -> str:
        networks = self.container(service)["NetworkSettings"]["Networks"]
        return next(iter(networks.values()))["IPAddress"]

    def nodes(self) -> list[str]:
        return [self.address(f"cassandra-{number}") for number in range(1, NODES + 1)]

    def ringvault(self, *arguments: str) -> str:
        """`ringvault` in the first scheduler's container, as the manual says it."""
        say(f"$ docker compose exec sched-1 ringvault {' '.join(arguments)}")
        return self.compose("exec", "-T", "sched-1", "ringvault", *arguments).stdout

    def ringvault_json(self, *arguments: str) -> Any:
        return json.loads(self.ringvault(*arguments, "--json"))

    def wait_healthy(self, services: list[str], seconds: float = 180) -> None:
        """Until the images' own health checks say so."""
        with step("health checks: " + ", ".join(services)):
            deadline = time.monotonic() + seconds
            while True:
                sick = {name: health(self.container(name)) for name in services}
                sick = {name: state for name, state in sick.items() if state != "healthy"}
                if not sick:
                    return
                if time.monotonic() > deadline:
                    raise LabError(f"not healthy within {seconds:.0f} s: {sick}")
                time.sleep(1)


def health(container: dict[str, Any]) -> str:
    state = container["State"]
    found = state.get("Health", {})
    if found.get("Status") == "healthy":
        return "healthy"
    said = [entry["Output"].strip() for entry in found.get("Log") or []][-1:]
    return f"{state['Status']}, {found.get('Status', 'no health check')} {said}"
