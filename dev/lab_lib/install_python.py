"""The lab's own Python environment: the Cassandra driver for `dev/lab cql`, pika for tests over AMQP."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import install_apt, paths
from .proc import run
from .progress import step

PACKAGES = ["cassandra-driver==3.29.2", "pika==1.3.2"]


def folder() -> Path:
    return paths.CACHE / f"python-{sys.version_info[0]}.{sys.version_info[1]}"


def interpreter() -> Path:
    return folder() / "bin" / "python"


def ready() -> bool:
    marker = folder() / "ringvault-packages"
    return marker.exists() and marker.read_text().split() == PACKAGES


def ensure() -> None:
    if ready():
        return
    install_apt.ensure(install_apt.python_packages())
    with step("making the lab's Python environment (" + ", ".join(PACKAGES) + ")"):
        partial = folder()
        shutil.rmtree(partial, ignore_errors=True)
        paths.make(partial.parent)
        run([sys.executable, "-m", "venv", str(partial)], "making a Python environment")
        # The driver's C extensions only make it faster, and would need a compiler where there is no wheel.
        environment = {**os.environ, "CASS_DRIVER_NO_EXTENSIONS": "1"}
        run(
            [str(interpreter()), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES],
            "installing Python packages",
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        (folder() / "ringvault-packages").write_text("\n".join(PACKAGES) + "\n")
