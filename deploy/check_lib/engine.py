"""A Docker engine: the machine's own if it answers, else Debian's, started with folders of its own and stopped
afterwards."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from lab_lib import install_apt, paths, proc
from lab_lib.errors import LabError
from lab_lib.progress import say, step

from . import traces

HOME = paths.CACHE / "docker"
SOCKET = HOME / "docker.sock"
_TRACES = HOME / "network-before.json"


class Engine:
    """A client of one engine. Every command runs with the engine's address and BuildKit."""

    def __init__(self, address: Optional[str], ours: bool) -> None:
        self.ours = ours
        # Debian's client brings BuildKit along; another one needs a plugin for it, which may be missing.
        self.client = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
        self.environment = {
            **os.environ,
            "DOCKER_BUILDKIT": "1",
            "COMPOSE_DOCKER_CLI_BUILD": "1",
            "BUILDKIT_PROGRESS": "plain",
        }
        if address:
            self.environment["DOCKER_HOST"] = address

    def run(self, *arguments: str, what: str = "", **options) -> str:
        """`docker ARGUMENTS…`, and what it said."""
        name = what or f"docker {arguments[0]}"
        return proc.run([self.client, *arguments], name, env=self.environment, **options)

    def has_image(self, name: str) -> bool:
        done = subprocess.run([self.client, "image", "inspect", name], env=self.environment, capture_output=True)
        return done.returncode == 0

    def image_size(self, name: str) -> int:
        """Bytes, unpacked, with the layers it shares with others."""
        return int(self.run("image", "inspect", "--format", "{{.Size}}", name).strip())

    def layers(self, name: str) -> list[str]:
        return self.run("image", "inspect", "--format", '{{join .RootFS.Layers " "}}', name).split()

    def compose(self) -> list[str]:
        """The command that compose files are run with: the client's own, or the program before it."""
        own = [self.client, "compose"]
        done = subprocess.run([*own, "version"], env=self.environment, capture_output=True)
        if done.returncode == 0:
            return own
        program = shutil.which("docker-compose")
        if not program:
            raise LabError(
                "there is neither docker compose nor docker-compose. Next: apt-get install docker-compose", 9
            )
        return [program]


def _answers(address: Optional[str]) -> bool:
    environment = {**os.environ, **({"DOCKER_HOST": address} if address else {})}
    client = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
    try:
        done = subprocess.run(
            [client, "version", "--format", "{{.Server.Version}}"], env=environment, capture_output=True, timeout=20
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _install() -> None:
    wanted = {
        "dockerd": ["docker.io", "iptables"],
        "docker-compose": ["docker-compose"],
        "debootstrap": ["debootstrap"],
    }
    install_apt.ensure([name for program, names in wanted.items() if not shutil.which(program) for name in names])


@contextmanager
def engine(keep: bool) -> Iterator[Engine]:
    """An engine for the block. One that was started for it is stopped after it, unless it is to be kept."""
    paths.make(HOME)
    if _answers(None):
        yield Engine(None, ours=False)
        return
    _install()
    address = f"unix://{SOCKET}"
    process = None
    if not _answers(address):
        process = _start(address)
    try:
        yield Engine(address, ours=True)
    finally:
        if keep:
            say(f"the engine stays: DOCKER_HOST={address}")
        else:
            _stop(process)


def _start(address: str) -> subprocess.Popen:
    if os.geteuid() != 0:
        raise LabError("no Docker engine answers, and only root can start one. Next: start one, and try again", 9)
    # Who stops it may be another command.
    _TRACES.write_text(json.dumps(traces.before()))
    log = HOME / "dockerd.log"
    with step("starting a Docker engine"), open(log, "wb") as output:
        command = ["dockerd", "--data-root", str(HOME / "data"), "--exec-root", "/run/ringvault-docker"]
        command += ["--pidfile", str(HOME / "dockerd.pid"), "-H", address]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        deadline = time.monotonic() + 60
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise LabError(f"the Docker engine does not start.{proc.tail(log)}", 9)
            time.sleep(0.3)
    return process


def _stop(process: Optional[subprocess.Popen]) -> None:
    """Stops the engine of `HOME`, whoever started it: an earlier check may have been killed, or have kept it."""
    try:
        pid = int((HOME / "dockerd.pid").read_text())
        if "dockerd" not in Path(f"/proc/{pid}/cmdline").read_text():
            return
    except (OSError, ValueError):
        return
    with step("stopping the Docker engine"):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            if process is not None:
                process.poll()
            time.sleep(0.2)
        if _TRACES.exists():
            traces.clear(json.loads(_TRACES.read_text()))
            _TRACES.unlink()


def stop() -> None:
    """Stops an engine that was kept."""
    _stop(None)
