"""cassandra-medusa, in a Python environment of its own: what tests and benchmarks of moving over from it, and beside
it, run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import install_apt, paths
from .proc import run
from .progress import step

MEDUSA = "0.31.0"
PROGRAM = "medusa"


def _folder() -> Path:
    return paths.CACHE / f"medusa-{MEDUSA}"


def ensure() -> Path:
    program = _folder() / "bin" / PROGRAM
    if program.exists():
        return program
    install_apt.ensure(install_apt.python_packages())
    with step(f"fetching cassandra-medusa {MEDUSA} (once)"):
        # An environment cannot be moved: one that was cut short is made anew in its place.
        shutil.rmtree(_folder(), ignore_errors=True)
        paths.make(_folder().parent)
        run([sys.executable, "-m", "venv", str(_folder())], "making a Python environment")
        command = [str(_folder() / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        # As in the lab's own environment.
        environment = {**os.environ, "CASS_DRIVER_NO_EXTENSIONS": "1"}
        run([*command, f"cassandra-medusa=={MEDUSA}"], "installing Medusa", env=environment, stdin=subprocess.DEVNULL)
    return program
