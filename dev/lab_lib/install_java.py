"""Apache Cassandra and the Jolokia agent as Maven artifacts: no tarball, no package, any release."""

import os
import shutil
import threading
from pathlib import Path

from . import java, paths
from .errors import LabError
from .proc import run
from .progress import step

JOLOKIA = "2.2.9"
NEWEST_TRIED = {"5.0": "5.0.4", "4.1": "4.1.10"}

_locks: dict[str, threading.Lock] = {}
_guard = threading.Lock()

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>ringvault.lab</groupId>
  <artifactId>cassandra</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.cassandra</groupId>
      <artifactId>cassandra-all</artifactId>
      <version>{cassandra}</version>
    </dependency>
    <dependency>
      <groupId>org.jolokia</groupId>
      <artifactId>jolokia-agent-jvm</artifactId>
      <version>{jolokia}</version>
      <classifier>javaagent</classifier>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>
    </dependency>
  </dependencies>
</project>
"""


def resolve(version: str) -> str:
    """`5.0`, `5.0.x` or `4.1.x` become the release the lab was tried with; an exact version stays."""
    line = version[:-2] if version.endswith(".x") else version
    if line in NEWEST_TRIED:
        return NEWEST_TRIED[line]
    parts = version.split(".")
    if len(parts) != 3 or ".".join(parts[:2]) not in NEWEST_TRIED:
        raise LabError(f"--cassandra {version}: the lab knows 5.0.x and 4.1.x", 2)
    return version


def home(version: str) -> Path:
    return paths.CACHE / "cassandra" / version


def library(version: str) -> Path:
    return home(version) / "lib"


def jolokia_jar(version: str) -> Path:
    return home(version) / "agent" / f"jolokia-agent-jvm-{JOLOKIA}-javaagent.jar"


def jamm_jar(version: str) -> Path:
    return next(library(version).glob("jamm-*.jar"))


def ensure(version: str) -> None:
    """Fetches the release once. A folder under its final name is complete."""
    with _guard:
        lock = _locks.setdefault(version, threading.Lock())
    with lock:
        if jolokia_jar(version).exists():
            return
        with step(f"fetching Cassandra {version} and Jolokia {JOLOKIA} from Maven Central"):
            partial = paths.make(home(version).parent) / f".{version}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            (partial / "pom.xml").write_text(_POM.format(cassandra=version, jolokia=JOLOKIA))
            run(
                ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib"],
                f"fetching Cassandra {version}",
                cwd=partial,
                env={**os.environ, "JAVA_HOME": str(java.home())},
            )
            (partial / "agent").mkdir()
            agent = f"jolokia-agent-jvm-{JOLOKIA}-javaagent.jar"
            (partial / "lib" / agent).rename(partial / "agent" / agent)
            shutil.rmtree(home(version), ignore_errors=True)
            partial.rename(home(version))
