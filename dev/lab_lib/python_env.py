"""A Python environment of its own for one thing that tests start, in the cache."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import paths
from .proc import run
from .progress import step


def folder(name: str, version: str) -> Path:
    return paths.CACHE / f"{name}-{version}-{sys.version_info[0]}.{sys.version_info[1]}"


def ensure(name: str, version: str) -> Path:
    """Its Python, which has the package `name` of PyPI in this version."""
    python = folder(name, version) / "bin" / "python"
    if python.exists():
        return python
    with step(f"fetching {name} {version} (once)"):
        partial = folder(name, version).with_name(f"{folder(name, version).name}.partial.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        paths.make(partial)
        # Without pip: an environment with it cannot be moved to its place.
        run([sys.executable, "-m", "venv", "--without-pip", str(partial)], "making a Python environment")
        site = next((partial / "lib").glob("python*")) / "site-packages"
        pip = [str(_pip()), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(site)]
        run([*pip, f"{name}=={version}"], f"installing {name}", stdin=subprocess.DEVNULL)
        shutil.rmtree(folder(name, version), ignore_errors=True)
        partial.rename(folder(name, version))
    return python


def _pip() -> Path:
    from . import install_python

    install_python.ensure()
    return install_python.interpreter()
