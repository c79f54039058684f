"""Ringvault itself: how it is built, and what its programs have in common. See schedulers.py and workers.py."""

import http.client
import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Optional

from . import credentials, install_apt, paths, proc, store, toml
from .errors import LabError
from .progress import step
from .state import State

# Points where a test may let a program die (shared/fault): inert unless the environment names their folder, and never
# in what is released. dev/test builds with the same, so that nothing is built twice.
FEATURES = "ringvault-scheduler/failpoints,ringvault-worker/failpoints"

PROGRAMS = ["ringvault-scheduler", "ringvault-worker", "ringvault"]


def bin_dir() -> Path:
    release = os.environ.get("RINGVAULT_LAB_PROFILE", "debug")
    return paths.target_dir() / release


def ensure_built() -> None:
    """For `--no-build`: the programs of an earlier build must be there."""
    missing = [name for name in PROGRAMS if not (bin_dir() / name).exists()]
    if missing:
        raise LabError(f"not in {bin_dir()}: {', '.join(missing)}. Next: leave out --no-build", 5)


def build() -> None:
    install_apt.ensure(install_apt.rust_packages())
    program = install_apt.find_cargo()
    if not program:
        raise LabError("cargo was installed, but is not on PATH", 9)
    with step("cargo build of " + ", ".join(PROGRAMS)):
        command = [program, "build"] + [word for name in PROGRAMS for word in ("--bin", name)]
        command += ["--features", FEATURES]
        if bin_dir().name == "release":
            command.append("--release")
        environment = {**os.environ, "CARGO_TARGET_DIR": str(paths.target_dir())}
        environment["PATH"] = f"{environment.get('PATH', os.defpath)}:{Path(program).parent}"
        # Queries are checked against the committed query data, not against whatever database the caller points at.
        environment.setdefault("SQLX_OFFLINE", "true")
        proc.run([str(paths.REPOSITORY / "dev" / "own-target")], "own-target", env=environment)
        proc.run(command, "cargo build", cwd=paths.REPOSITORY, env=environment)


def rabbitmq_url_file(user: str) -> str:
    return str(credentials.file(f"rabbitmq-{user}-url"))


def vault_settings(state: State) -> dict[str, Any]:
    entry = state.services["store"]
    settings: dict[str, Any] = {"url": entry["url"]}
    if entry["kind"] != "folder":
        store.keys()
        settings.update(
            endpoint=entry["endpoint"],
            region=store.REGION,
            path_style=True,
            access_key_file=str(credentials.file("s3-access-key")),
            secret_key_file=str(credentials.file("s3-secret-key")),
        )
    return settings


def vault_tables(state: State) -> dict[str, Any]:
    """The sections of a configuration that are about the vault."""
    tables = {"vault": vault_settings(state)}
    if state.services["store"].get("encrypt"):
        tables["vault.encryption"] = {"key_file": str(vault_key_file())}
    if state.services["store"].get("lock"):
        tables["vault.lock"] = {"mode": "compliance", "period": state.services["store"]["lock"]}
    if state.services["store"]["kind"] != "folder":
        # Beside the vault: what a Medusa of this lab writes.
        tables["vault.medusa.lab"] = {**vault_settings(state), "url": f"s3://{store.BUCKET}/medusa"}
    return tables


def vault_key_file() -> Path:
    credentials.secret("vault-key", 32)
    return credentials.file("vault-key")


def signing_key_file() -> Path:
    credentials.secret("signing-key", 32)
    return credentials.file("signing-key")


def admin_token_file() -> Path:
    credentials.secret("api-admin-token", 32)
    return credentials.file("api-admin-token")


def settle_options(state: State, scheduler: Optional[list], worker: Optional[list]) -> None:
    """Remembers lines for the programs' configurations, as pairs of `section.key` and value."""
    for program, pairs in (("scheduler", scheduler), ("worker", worker)):
        state.data.setdefault(f"{program}_options", {}).update(dict(pairs or []))


def with_options(state: State, program: str, document: dict[str, Any]) -> str:
    for name, value in state.data.get(f"{program}_options", {}).items():
        section, _, key = name.rpartition(".")
        (document.setdefault(section, {}) if section else document)[key] = value
    return toml.dumps(document)


def get(url: str, token: Optional[str] = None) -> Any:
    """The status and the JSON (if it is any) of a GET; status 0 while nobody answers."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            body = answer.read()
            status = answer.status
    except urllib.error.HTTPError as error:
        return error.code, None
    except (OSError, http.client.HTTPException):
        return 0, None
    try:
        return status, json.loads(body)
    except ValueError:
        return status, None


def spawn(program: str, config: Path, log: Path) -> proc.Record:
    """Starts a program of ours with its configuration; its log is a file, so without colour.

    The folder of failpoints need not be there: a test that arms one makes it.
    """
    command = [str(bin_dir() / program), "--config", str(config)]
    return proc.spawn(command, log, str(config), {**os.environ, "NO_COLOR": "1", "RINGVAULT_FAILPOINTS_DIR": str(paths.LAB / "failpoints")})


def stop(named: list[tuple], kill: bool) -> None:
    running = [(name, entry["process"]) for name, entry in named if proc.alive(entry.get("process"))]
    if running:
        with step(f"{', '.join(name for name, _ in running)}: {'killed' if kill else 'stopped'}"):
            proc.stop([process for _, process in running], 9 if kill else 15)
