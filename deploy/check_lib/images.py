"""Ringvault's own images, from programs that were built outside: seconds in place of a build inside an image."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Optional

from lab_lib import install_apt, paths, proc
from lab_lib.errors import LabError
from lab_lib.progress import step

from .engine import HOME, Engine

PROGRAMS = ["ringvault-scheduler", "ringvault-worker", "ringvault"]
# Image, target of the Dockerfile, and what it stands on.
IMAGES = {"ringvault-scheduler": "scheduler", "ringvault-worker": "worker"}


def programs(given: Optional[Path]) -> Path:
    """The folder with the programs: the one given, or Cargo's after a release build."""
    folder = given
    if folder is None:
        cargo = install_apt.find_cargo()
        if not cargo:
            install_apt.ensure(install_apt.rust_packages())
            cargo = install_apt.find_cargo() or "cargo"
        folder = paths.target_dir() / "release"
        environment = {**os.environ, "SQLX_OFFLINE": "true", "CARGO_TARGET_DIR": str(paths.target_dir())}
        command = [cargo, "build", "--release", "--locked", "-p", "ringvault-scheduler", "-p", "ringvault-worker"]
        with step("building the programs (--programs takes ready ones)"):
            proc.run([*command, "-p", "ringvault-cli"], "building", cwd=str(paths.REPOSITORY), env=environment)
    missing = [name for name in PROGRAMS if not (folder / name).exists()]
    if missing:
        raise LabError(
            f"{folder} has no {', '.join(missing)}. Next: cargo build --release, or another folder for --programs", 2
        )
    return folder


def stripped(folder: Path, to: Path) -> None:
    """Copies without symbols, as the Dockerfile makes them."""
    to.mkdir(parents=True)
    for name in PROGRAMS:
        if shutil.which("strip"):
            proc.run(["strip", "-o", str(to / name), str(folder / name)], f"stripping {name}")
        else:
            shutil.copy2(folder / name, to / name)


def build(engine: Engine, folder: Path) -> None:
    """Builds both images from a context that has nothing but the programs."""
    with tempfile.TemporaryDirectory(dir=HOME) as context:
        stripped(folder, Path(context) / "programs")
        for name, target in IMAGES.items():
            with step(f"image {name}"):
                options = ["-f", str(paths.REPOSITORY / "deploy" / "Dockerfile"), "--target", target]
                engine.run(
                    "build", *options, "--build-arg", "PROGRAMS=given", "-t", name, context, what=f"building {name}"
                )


def sizes(engine: Engine) -> dict[str, dict[str, Any]]:
    """MiB of each image, and of what it adds to the one it stands on."""
    bases = {"ringvault-scheduler": "gcr.io/distroless/cc-debian12:nonroot", "ringvault-worker": "cassandra:5.0.4"}
    found = {}
    for name, base in bases.items():
        whole, under = engine.image_size(name), engine.image_size(base)
        found[name] = {"mib": round(whole / 2**20, 1), "own_mib": round((whole - under) / 2**20, 1)}
    return found
