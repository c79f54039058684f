"""The clients of tests/clients that are not Python: what each needs comes from its language's registry."""

import hashlib
import os
import shlex
import shutil
from pathlib import Path

from . import install_apt, install_go, java, paths
from .errors import LabError
from .proc import run
from .progress import step

GO = "ask-go"
JAVA = "ask-java"
_SOURCES = paths.REPOSITORY / "tests" / "clients"


def ensure_go() -> Path:
    """Builds it; Go knows by itself what is built already."""
    program = paths.make(paths.LAB / "clients") / GO
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
    with step(f"building {GO}"):
        run(
            [str(install_go.toolchain()), "build", "-o", str(program), "."],
            f"building {GO}",
            env=environment,
            cwd=_SOURCES / "go",
        )
    return program


def ensure_java() -> Path:
    """A script that runs it from its source, with the libraries that its pom names."""
    if not java.present() or not shutil.which("mvn"):
        install_apt.ensure([java.PACKAGE, "maven"])
    if not (java.home() / "bin" / "javac").exists():
        raise LabError(f"{java.home()} has no compiler. Next: apt-get install {java.PACKAGE}", 9)
    script = f"exec {shlex.quote(str(java.program()))} -cp {shlex.quote(f'{_libraries()}/*')} "
    script += f'{shlex.quote(str(_SOURCES / "java" / "Ask.java"))} "$@"'
    return paths.write(paths.LAB / "clients" / JAVA, f"#!/bin/sh\n{script}\n", 0o755)


def _libraries() -> Path:
    pom = _SOURCES / "java" / "pom.xml"
    folder = paths.CACHE / f"{JAVA}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    with step(f"fetching the libraries of {JAVA} from Maven Central"):
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        options = ["-DincludeScope=runtime", f"-DoutputDirectory={partial}"]
        run(
            ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", *options],
            f"fetching the libraries of {JAVA}",
            env={**os.environ, "JAVA_HOME": str(java.home())},
        )
        partial.rename(folder)
    return folder
