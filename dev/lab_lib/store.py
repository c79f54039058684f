"""The object store: versitygw or MinIO with one bucket, or a plain folder."""

import http.client
import os
import shutil
from typing import Any, Optional

from . import credentials, install_go, paths, ports, proc, sigv4
from .errors import LabError
from .progress import step
from .state import State

BUCKET = "ringvault"
PREFIX = "lab"
REGION = "us-east-1"


def keys() -> tuple[str, str]:
    return credentials.secret("s3-access-key", 10), credentials.secret("s3-secret-key", 20)


def kind_of(state: State) -> str:
    return state.services.get("store", {}).get("kind", "versitygw")


def choose(state: State, store: str, s3: str, encrypt: bool, lock: Optional[str]) -> None:
    """Settles the kind at the first `up`; later ones must agree, for the vault lies in it."""
    entry = state.services.setdefault("store", {})
    if not entry.get("url"):
        # Never started: nothing lies in it.
        entry.clear()
    wanted = "folder" if store == "folder" else s3 or (None if store is None else entry.get("kind") or "versitygw")
    if store == "s3" and not s3 and entry.get("kind") == "folder":
        wanted = "versitygw"
    if wanted and entry.get("kind", wanted) != wanted:
        raise LabError(
            f"this lab's store is {entry['kind']}, not {wanted}. Next: leave the option out, or dev/lab down --purge "
            "first, or another RINGVAULT_LAB_DIR",
            6,
        )
    entry.setdefault("kind", wanted or "versitygw")
    if encrypt and entry.get("vault") and not entry.get("encrypt"):
        raise LabError(
            "this lab's vault is not encrypted. Next: leave --encrypt out, or dev/lab down --purge first, or another "
            "RINGVAULT_LAB_DIR",
            6,
        )
    if encrypt:
        entry["encrypt"] = True
    if lock and entry["kind"] == "folder":
        raise LabError("a plain folder locks nothing. Next: leave out --lock, or --store folder", 2)
    if lock and entry.get("vault") and not entry.get("lock"):
        raise LabError(
            "this lab's bucket was made without Object Lock. Next: leave --lock out, or dev/lab down --purge first, or "
            "another RINGVAULT_LAB_DIR",
            6,
        )
    if lock:
        entry["lock"] = lock


def _command(kind: str, port: int) -> tuple[list, dict[str, str]]:
    base = paths.SERVICES / "store" / kind
    access, secret = keys()
    address = f"127.0.0.1:{port}"
    if kind == "versitygw":
        iam, versions, data = (paths.make(base / name) for name in ("iam", "versions", "data"))
        # Without --iam-dir an unknown access key gets 404 instead of 403.
        command = [
            "--port",
            address,
            "--quiet",
            "--iam-dir",
            str(iam),
            "posix",
            "--versioning-dir",
            str(versions),
            str(data),
        ]
        return command, {"ROOT_ACCESS_KEY": access, "ROOT_SECRET_KEY": secret}
    data = paths.make(base / "data")
    environment = {
        "MINIO_ROOT_USER": access,
        "MINIO_ROOT_PASSWORD": secret,
        "MINIO_UPDATE": "off",
        "MINIO_BROWSER": "off",
    }
    return ["server", "--quiet", "--address", address, str(data)], environment


def _ready(endpoint: str) -> bool:
    access, secret = keys()
    try:
        status, _ = sigv4.request("GET", endpoint, "/", access, secret, REGION)
    except (OSError, http.client.HTTPException):
        return False
    return status == 200


def _make_bucket(endpoint: str, with_locks: bool) -> None:
    access, secret = keys()
    extra = {"x-amz-bucket-object-lock-enabled": "true"} if with_locks else {}
    status, body = sigv4.request("PUT", endpoint, f"/{BUCKET}", access, secret, REGION, extra)
    # 409: it is there already, and ours, for nobody else has a key.
    if status not in (200, 409):
        raise LabError(f"the store at {endpoint} refused to make the bucket {BUCKET}: {status} {body[:300]}", 9)


def up(state: State) -> None:
    entry: dict[str, Any] = state.services["store"]
    if entry["kind"] == "folder":
        folder = paths.make(paths.SERVICES / "store" / "folder" / PREFIX)
        entry.update(folder=str(folder), url=f"file://{folder}", process=None)
        state.save()
        return
    if proc.ready(entry.get("process")):
        return
    proc.stop([entry.get("process")])
    binary = install_go.ensure(entry["kind"])
    with step(f"{entry['kind']}: ready"):
        port = ports.choose("store", entry.get("port", 0))
        endpoint = f"http://127.0.0.1:{port}"
        arguments, environment = _command(entry["kind"], port)
        log = paths.SERVICES / "store" / f"{entry['kind']}.log"
        base = str(paths.SERVICES / "store" / entry["kind"])
        process = proc.spawn([str(binary), *arguments], log, base, {**os.environ, "HOME": base, **environment})
        entry.update(port=port, endpoint=endpoint, url=f"s3://{BUCKET}/{PREFIX}", log=str(log), process=process)
        entry["folder"] = str(paths.SERVICES / "store" / entry["kind"] / "data")
        state.save()
        proc.wait_for(entry["kind"], lambda: _ready(endpoint), process, log)
        _make_bucket(endpoint, bool(entry.get("lock")))
        entry["bucket"] = BUCKET
        process["ready"] = True
        state.save()


def down(state: State) -> None:
    proc.stop([state.services.get("store", {}).get("process")])


def purge() -> None:
    shutil.rmtree(paths.SERVICES / "store", ignore_errors=True)
