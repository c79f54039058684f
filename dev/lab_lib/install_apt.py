"""Debian packages, installed without starting or creating any service of the machine's own."""

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from . import java, paths
from .errors import LabError
from .proc import run
from .progress import step

POLICY = Path("/usr/sbin/policy-rc.d")
CLUSTER_CONF = Path("/etc/postgresql-common/createcluster.conf")

# As in Cargo.toml's rust-version.
OLDEST_RUST = (1, 95)
_NO_RUST = (
    "there is no cargo, and no Rust of 1.95 or newer that could be installed; nothing was started. Next: install "
    "rustup (https://rustup.rs), which takes the toolchain from rust-toolchain.toml; or dev/lab up --no-ringvault"
)

_updated = threading.Event()


def postgres_bin() -> Path:
    """The newest server that Debian installed, 14 or later."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    found = [path for path in found if path.parent.name.isdigit() and int(path.parent.name) >= 14]
    if not found:
        raise LabError("no PostgreSQL server of version 14 or newer is installed. Next: apt-get install postgresql", 9)
    return max(found, key=lambda path: int(path.parent.name))


def missing_packages(cassandra: bool, go: bool, rust: bool) -> list[str]:
    """What has to come from Debian for PostgreSQL, RabbitMQ and, where asked for, Java, Go and Rust with a linker."""
    packages: list[str] = []
    try:
        postgres_bin()
    except LabError:
        packages.append("postgresql")
    if not Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists():
        packages.append("rabbitmq-server")
    if cassandra:
        if not java.present():
            packages.append(java.PACKAGE)
        if not shutil.which("mvn"):
            packages.append("maven")
    if go and not shutil.which("go"):
        packages.append("golang-go")
    if rust:
        packages += rust_packages()
    return packages + python_packages()


def python_packages() -> list[str]:
    """The lab's Python environment needs ensurepip, which Debian ships apart, and authorities to trust for pip."""
    packages = [] if Path("/etc/ssl/certs/ca-certificates.crt").exists() else ["ca-certificates"]
    with contextlib.suppress(ImportError):
        import ensurepip  # noqa: F401

        return packages
    return packages + ["python3-venv"]


def rust_packages() -> list[str]:
    """What has to come from Debian to build Ringvault: a linker, and Rust where there is no cargo."""
    packages = [] if shutil.which("cc") else ["gcc", "libc6-dev"]
    return packages if find_cargo() else packages + _rust_of_debian()


def find_cargo() -> Optional[str]:
    """Cargo from PATH, or where rustup puts it for shells that have not read its profile."""
    home = Path(os.environ.get("CARGO_HOME") or paths.HOME / ".cargo")
    return shutil.which("cargo") or shutil.which("cargo", path=str(home / "bin"))


def _rust_of_debian() -> list[str]:
    """Debian's newest Rust if it is new enough: `cargo`, else the one that stable releases get for their browsers
    (`cargo-web`), else `rustup`, which fetches what rust-toolchain.toml names."""
    if not shutil.which("apt-cache") or os.geteuid() != 0:
        raise LabError(_NO_RUST, 9)
    _update()
    for names in (["cargo", "rustc"], ["cargo-web", "rustc-web"]):
        if _candidate(names[1]) >= OLDEST_RUST:
            return names
    if _candidate("rustup") > (0, 0):
        return ["rustup"]
    raise LabError(_NO_RUST, 9)


def _candidate(package: str) -> tuple[int, int]:
    """Major and minor version that apt would install; zeros if none."""
    text = run(["apt-cache", "policy", package], f"apt-cache policy {package}")
    found = re.search(r"Candidate: (?:\d+:)?(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _update() -> None:
    if not _updated.is_set():
        with step("apt-get update"):
            run(["apt-get", "update", "-qq"], "apt-get update")
        _updated.set()


def ensure(packages: list[str]) -> None:
    """Installs what is missing in one go. Does nothing when nothing is."""
    if not packages:
        return
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        raise LabError(
            f"these Debian packages are missing and there is no apt-get: {names}. Next: install their like", 9
        )
    if os.geteuid() != 0:
        raise LabError(f"missing packages. Next, as root: apt-get install --no-install-recommends {names}", 9)
    with step(f"apt-get install {names}"), _services_stay_down(), _no_main_cluster():
        environment: dict[str, str] = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _update()
        run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
            f"installing {names}",
            env=environment,
        )


@contextlib.contextmanager
def _services_stay_down() -> Iterator[None]:
    """policy-rc.d is Debian's way to forbid packages to start services; one that is there already is left alone."""
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


@contextlib.contextmanager
def _no_main_cluster() -> Iterator[None]:
    """Keeps postgresql-common from making a database cluster of the machine's own while the block runs."""
    original = CLUSTER_CONF.read_text() if CLUSTER_CONF.exists() else None
    CLUSTER_CONF.parent.mkdir(parents=True, exist_ok=True)
    CLUSTER_CONF.write_text((original or "") + "\ncreate_main_cluster = false\n")
    try:
        yield
    finally:
        # The package found a file of ours and put its own beside it.
        packaged = CLUSTER_CONF.with_name(CLUSTER_CONF.name + ".ucf-dist")
        if original is not None:
            CLUSTER_CONF.write_text(original)
        elif packaged.exists():
            packaged.replace(CLUSTER_CONF)
        else:
            CLUSTER_CONF.unlink()
