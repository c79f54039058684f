"""The Debian packages and units: made, installed in a fresh Debian, judged by systemd, and the installed scheduler run
in the project."""

import re
import tempfile
from pathlib import Path
from typing import Any

from lab_lib import paths, proc
from lab_lib.errors import LabError
from lab_lib.progress import step

from . import standins
from .engine import HOME, Engine
from .project import NAME, Project

# systemd's own measure of what a service may do, from 0 (nothing) to 10; each unit as it is today, and a little.
EXPOSURE = {"ringvault-scheduler": 1.3, "ringvault-worker": 1.7}
_IMAGE = "ringvault-check-packages"

_DOCKERFILE = f"""FROM {standins.DEBIAN}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends systemd adduser ca-certificates >/dev/null \\
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
COPY *.deb /packages/
RUN groupadd -r cassandra && useradd -r -g cassandra cassandra && dpkg -i /packages/*.deb
"""


def check(engine: Engine, programs: Path) -> dict[str, Any]:
    """Builds, installs, verifies; leaves an image with the packages installed for `run`."""
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        with step("packages: build"):
            proc.run(
                [str(paths.REPOSITORY / "deploy" / "debian" / "build"), str(programs), folder],
                "building Debian packages",
            )
        sizes = {path.name: round(path.stat().st_size / 2**20, 1) for path in sorted(Path(folder).glob("*.deb"))}
        with step("packages: install in a fresh Debian"):
            (Path(folder) / "Dockerfile").write_text(_DOCKERFILE)
            engine.run("build", "--network=host", "-t", _IMAGE, folder, what="installing the packages")
    exposure = {}
    with step("packages: units, programs, pages, removal"):
        for program in ("ringvault", "ringvault-scheduler", "ringvault-worker"):
            _in_image(engine, f"{program} --version")
        _in_image(
            engine,
            "test -s /usr/share/man/man1/ringvault-backup-create.1.gz && "
            "bash -n /usr/share/bash-completion/completions/ringvault",
        )
        for unit, most in EXPOSURE.items():
            said = _in_image(engine, f"systemd-analyze verify --man=no /lib/systemd/system/{unit}.service 2>&1")
            ours = [line for line in said.splitlines() if "ringvault" in line]
            if ours:
                raise LabError(f"{unit}.service: " + "; ".join(ours))
            said = _in_image(
                engine, f"systemd-analyze security --no-pager --offline=true /lib/systemd/system/{unit}.service 2>&1"
            )
            found = re.search(r"exposure level for .*: ([0-9.]+)", said)
            if not found or float(found[1]) > most:
                raise LabError(f"{unit}.service is more exposed than {most}: {said[-600:]}")
            exposure[unit] = float(found[1])
        _in_image(
            engine, "dpkg -r ringvault-scheduler ringvault-worker ringvault && test ! -e /usr/bin/ringvault-worker"
        )
    return {"mib": sizes, "exposure": exposure}


def _in_image(engine: Engine, command: str) -> str:
    return engine.run("run", "--rm", _IMAGE, "sh", "-c", command, what=command)


def run(engine: Engine, project: Project) -> None:
    """The scheduler of the package as a third one of the project: as its own user, until it is ready."""
    volume = project.volume("scheduler-config")
    with step("packages: the installed scheduler runs in the project, as its own user"):
        options = ["--rm", "--network", f"{NAME}_default", "-v", f"{volume}:/config:ro"]
        engine.run("run", *options, _IMAGE, "sh", "-c", _RUN, what="the packaged scheduler")


# The project's configuration, handed to the package's user; then until it is ready, and a signal.
_RUN = """set -e
install -d -o ringvault -g ringvault -m 0700 /run/ringvault
cp /config/* /run/ringvault/
chown -R ringvault: /run/ringvault
sed -i s,/etc/ringvault,/run/ringvault, /run/ringvault/scheduler.toml
set -- setpriv --reuid=ringvault --regid=ringvault --clear-groups ringvault-scheduler
set -- "$@" --config /run/ringvault/scheduler.toml --id packaged
"$@" & pid=$!
for try in $(seq 60); do "$@" --probe ready 2>/dev/null && break; kill -0 $pid; sleep 1; done
"$@" --probe ready
kill -TERM $pid
wait $pid
"""


def clear(engine: Engine) -> None:
    """The image goes; what it was made from stays in the engine's cache."""
    if engine.has_image(_IMAGE):
        engine.run("rmi", "-f", _IMAGE)
