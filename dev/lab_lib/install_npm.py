"""Azurite, the emulator of Azure Blob Storage, from npm."""

import os
import shutil
from pathlib import Path
from typing import Optional

from . import install_apt, paths
from .proc import run
from .progress import step

# The newest that runs on Debian's own Node.js; later ones want Node.js 22.
AZURITE = "3.35.0"
PROGRAM = "azurite-blob"


def find() -> Optional[Path]:
    """The program from PATH, or the one fetched earlier."""
    on_path = shutil.which(PROGRAM)
    if on_path:
        return Path(on_path)
    fetched = _folder() / "node_modules" / ".bin" / PROGRAM
    return fetched if fetched.exists() else None


def ensure() -> Path:
    present = find()
    if present:
        return present
    programs = {"node": "nodejs", "npm": "npm"}
    install_apt.ensure([package for program, package in programs.items() if not shutil.which(program)])
    with step(f"fetching azurite {AZURITE} (once)"):
        partial = _folder().with_name(f"azurite.partial.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        paths.make(partial)
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev", f"azurite@{AZURITE}"]
        run(command, "fetching azurite", cwd=str(partial))
        shutil.rmtree(_folder(), ignore_errors=True)
        partial.rename(_folder())
    return _folder() / "node_modules" / ".bin" / PROGRAM


def _folder() -> Path:
    return paths.CACHE / f"azurite-{AZURITE}"
