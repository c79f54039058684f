"""Programs built from their Go modules: the object stores (versitygw by default, MinIO and Google's emulator on request), and Helm."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Optional

from . import install_apt, paths
from .proc import run
from .progress import step

MODULES = {
    "versitygw": "github.com/versity/versitygw/cmd/versitygw@v1.8.0",
    "minio": "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
    "fake-gcs-server": "github.com/fsouza/fake-gcs-server@v1.56.1",
    # Not a store: it renders the chart for deploy/check.
    "helm": "helm.sh/helm/v3/cmd/helm@v3.19.5",
}
# From 1.21 on, Go fetches by itself the newer toolchain that a module asks for.
OLDEST_GO = (1, 21)
_FETCHED = paths.CACHE / "go" / "bin" / "go"
TOOLCHAIN = "golang.org/toolchain@v0.0.1-go1.26.0.linux-{arch}"


def find(server: str) -> Optional[Path]:
    """The server from PATH, or the one built earlier."""
    on_path = shutil.which(server)
    if on_path:
        return Path(on_path)
    built = paths.TOOLS / server
    return built if built.exists() else None


def ensure(server: str) -> Path:
    present = find(server)
    if present:
        return present
    go = toolchain()
    with step(f"building {MODULES[server]} (some minutes, once)"):
        partial = paths.make(paths.TOOLS / ".partial")
        environment = {**os.environ, "GOBIN": str(partial), "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
        run([str(go), "install", MODULES[server]], f"building {server}", env=environment, cwd="/")
        os.replace(partial / server, paths.TOOLS / server)
    return paths.TOOLS / server


def needs_go(server: str) -> bool:
    """Whether `ensure` will build the server with whatever Go the system has."""
    return server in MODULES and not find(server) and not _FETCHED.exists()


def _version(go: Path) -> tuple:
    text = subprocess.run([str(go), "version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
    match = re.search(r"go(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def toolchain() -> Path:
    """A Go that is new enough; where there is none Debian's is installed, and where Debian's is too old it fetches a newer one, checked by Go's checksum database."""
    for candidate in [shutil.which("go"), str(_FETCHED)]:
        if candidate and Path(candidate).exists() and _version(Path(candidate)) >= OLDEST_GO:
            return Path(candidate)
    if not shutil.which("go"):
        install_apt.ensure(["golang-go"])
        return toolchain()
    with step("fetching a newer Go than the system's"):
        return _fetch_toolchain("go")


def _fetch_toolchain(system: str) -> Path:
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    home = _FETCHED.parent.parent
    partial = home.with_name("go.partial")
    shutil.rmtree(partial, ignore_errors=True)
    paths.make(partial)
    environment = {**os.environ, "GOPATH": str(partial / "path"), "GOFLAGS": "-modcacherw", "GO111MODULE": "on"}
    output = run(
        [system, "mod", "download", "-json", TOOLCHAIN.format(arch=arch)], "fetching Go", env=environment, cwd="/"
    )
    tree = Path(json.loads(output[output.index("{") :])["Dir"])
    # Module archives carry no execute bits.
    for folder in (tree / "bin", tree / "pkg" / "tool"):
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(0o755)
    shutil.rmtree(home, ignore_errors=True)
    tree.rename(home)
    shutil.rmtree(partial, ignore_errors=True)
    return _FETCHED
