"""`deploy/check`: options, the order of things, and what is left behind."""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from lab_lib.errors import LabError
from lab_lib.progress import say

from . import chart, images, packages, rounds, standins
from . import engine as engines
from .project import Project


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="deploy/check",
        description="Tries what deploy/ ships. Without options: builds the images, brings docker-compose.yml up, "
        "backs up, drops, restores, compares every row, and takes down what it started. Ends with one line of JSON.",
    )
    parser.add_argument(
        "--programs",
        type=Path,
        metavar="DIR",
        help="take ringvault, ringvault-scheduler and ringvault-worker from here instead of building them",
    )
    parser.add_argument("--rows", type=int, default=30_000, help="about how many (30000)")
    parser.add_argument("--heap", default="512M", help="of each Cassandra (512M)")
    parser.add_argument(
        "--chart", action="store_true", help="only the Helm chart and the Kubernetes manifests, which needs no engine"
    )
    parser.add_argument(
        "--update", action="store_true", help="with --chart: write deploy/kubernetes/ringvault.yaml anew"
    )
    parser.add_argument("--packages", action="store_true", help="only the Debian packages and units")
    parser.add_argument("--keep", action="store_true", help="leave project and engine running")
    parser.add_argument("--down", action="store_true", help="take down what --keep left, and nothing else")
    options = parser.parse_args(arguments)
    # What was started is taken down then, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(options)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    if options.down:
        with engines.engine(keep=False) as engine:
            Project(engine, options.heap).down()
        engines.stop()
        return 0
    if options.chart:
        print(json.dumps(chart.check(options.update)))
        return 0
    return _packages(options) if options.packages else _containers(options)


def _packages(options: argparse.Namespace) -> int:
    programs = images.programs(options.programs)
    with engines.engine(keep=options.keep) as engine:
        standins.ensure(engine, [standins.DEBIAN])
        print(json.dumps(packages.check(engine, programs)))
        packages.clear(engine)
    return 0


def _containers(options: argparse.Namespace) -> int:
    clock = rounds.Clock()
    began = time.monotonic()
    with clock("programs"):
        programs = images.programs(options.programs)
    with engines.engine(keep=options.keep) as engine:
        with clock("chart"):
            chart.check(update=False)
            chart.accepted(programs)
        with clock("images"):
            made = standins.ensure(engine)
            images.build(engine, programs)
        project = Project(engine, options.heap)
        # One that was killed leaves its project behind.
        project.down()
        try:
            result = _project(project, options, clock)
            with clock("packages"):
                result["packages"] = packages.check(engine, programs)
                packages.run(engine, project)
        except BaseException:
            say(f"the containers' logs: {project.keep_logs()}")
            raise
        finally:
            if not options.keep:
                project.down()
        result |= {"images": images.sizes(engine), "stand_ins": made}
        packages.clear(engine)
    result["seconds"] = {**clock.seconds, "all": round(time.monotonic() - began, 1)}
    print(json.dumps(result))
    same = (result["rows_before"], result["checksum_before"]) == (result["rows_after"], result["checksum_after"])
    if not same:
        print("error: the rows that came back are not those that went", file=sys.stderr)
    return 0 if same else 1


def _project(project: Project, options: argparse.Namespace, clock: rounds.Clock) -> dict:
    with clock("up"):
        project.up()
        project.wait_healthy([*rounds.WORKERS, *rounds.SCHEDULERS])
        rounds.wait_for_workers(project)
    project.ringvault("status")
    rounds.confined(project)
    result = rounds.there_and_back(project, options.rows, clock)
    with clock("signals"):
        result["stop_seconds"] = rounds.stopped_by_signal(project)
    with clock("health"):
        rounds.sick_without_broker(project)
    return result
