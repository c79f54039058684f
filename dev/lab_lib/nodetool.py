"""A nodetool script for each node.

nodetool lives for a second, most of which Java spends on loading its classes. So the lab keeps them in an archive that
Java maps instead (class data sharing): half the time. Without the archive, or with another Java, it works all the same.
"""

import hashlib
import shlex
import subprocess
from pathlib import Path
from typing import Any

from . import install_java, java, java_flags, paths, proc
from .progress import step


def _archive(version: str) -> Path:
    """One archive for each Cassandra and each Java: Java refuses that of another build."""
    real = java.program()
    identity = f"{real} {real.stat().st_size} {real.stat().st_mtime_ns}"
    return install_java.home(version) / f"nodetool-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.jsa"


def _command(version: str, node: dict[str, Any], base: Path, sharing: str) -> list[str]:
    return [
        str(java.program()),
        "-Xmx128m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xshare:auto",
        "-Xlog:cds=off",
        "-Xlog:cds+dynamic=off",
        sharing,
        # Its history goes here, not into the caller's home.
        f"-Duser.home={paths.make(base / 'tools-home')}",
        f"-Dlogback.configurationFile=file://{base}/conf/logback-tools.xml",
        f"-Dcassandra.config=file://{base}/conf/cassandra.yaml",
        f"-Dcassandra.storagedir={base}",
        "-Dcom.sun.jndi.rmiURLParsing=legacy",
        *java_flags.modules(),
        # No folder may stand here, or there can be no archive.
        "-cp",
        f"{install_java.library(version)}/*",
        "org.apache.cassandra.tools.NodeTool",
        "-h",
        "127.0.0.1",
        "-p",
        str(node["jmx_port"]),
    ]


def write(version: str, node: dict[str, Any], base: Path) -> None:
    """The script talks to this node alone; `-h` and `-p` are given, everything else is the caller's."""
    command = shlex.join(_command(version, node, base, f"-XX:SharedArchiveFile={_archive(version)}"))
    script = f'#!/bin/sh\n# nodetool for {node["address"]}\nexec {command} "$@"\n'
    paths.write(base / "conf" / "nodetool", script, 0o755)


def ensure_archive(version: str, node: dict[str, Any], base: Path) -> None:
    """Makes the archive from one run against a node that is up. A failure costs speed only, so it is not one."""
    archive = _archive(version)
    if archive.exists() or not proc.alive(node["process"]):
        return
    with step(f"nodetool of Cassandra {version}: class archive (once)"):
        partial = archive.with_name(f".{archive.name}.{node['address']}")
        command = _command(version, node, base, f"-XX:ArchiveClassesAtExit={partial}") + ["info"]
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if partial.exists():
            partial.replace(archive)
