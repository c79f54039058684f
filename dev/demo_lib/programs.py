"""Running dev/lab and ringvault as a person would, and reading what they say."""
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional


class Failed(Exception):
    """A program ended with an unexpected exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def run(command: List[str], env: Dict[str, str], ok=(0,)) -> str:
    """Runs a program; its progress goes to the reader, its data comes back."""
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in ok:
        sys.stderr.write(done.stdout)
        # 9, a dependency that is missing, is told on; any other is a failure of the demonstration.
        code = 9 if done.returncode == 9 else 1
        raise Failed(f"{shlex.join(command)} ended with exit code {done.returncode}", code)
    return done.stdout


def _peak(pid: Optional[int]) -> Optional[int]:
    """VmHWM of a process, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    kibibytes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(kibibytes[0]) * 1024 if kibibytes else None


class Lab:
    """The lab and the `ringvault` command against it."""

    def __init__(self, lab: str, cluster: str) -> None:
        self.lab, self.cluster = lab, cluster
        self.env = dict(os.environ)
        self.status: dict = {}
        self.ringvault_path = ""

    def up(self, options: List[str]) -> None:
        """Starts what is not running."""
        run([self.lab, "up", "--cluster", self.cluster, *options], self.env)
        self.status = json.loads(run([self.lab, "status", "--json"], self.env))
        self.env["RINGVAULT_SERVER"] = self.status["server"]
        self.env["RINGVAULT_TOKEN_FILE"] = self.status["token_file"]
        self.ringvault_path = os.path.join(self.status["bin_dir"], "ringvault")

    def peak_memory(self) -> Dict[str, int]:
        """The most memory, in bytes, that each scheduler and worker has held since it was started."""
        status = json.loads(run([self.lab, "status", "--json"], self.env))
        found = {}
        for entry in status["services"]["schedulers"]:
            found[f"scheduler {entry['id']}"] = _peak(entry["pid"])
        for node in status["clusters"][self.cluster]["nodes"]:
            if node["worker"]:
                found[f"worker {node['index']}"] = _peak(node["worker"]["pid"])
        return {name: peak for name, peak in found.items() if peak is not None}

    def nodes(self) -> List[str]:
        """Addresses of the cluster's nodes."""
        return [node["address"] for node in self.status["clusters"][self.cluster]["nodes"]]

    def compact(self, keyspace: str) -> None:
        """A major compaction of a keyspace on every node: other files with the same rows."""
        for node in self.status["clusters"][self.cluster]["nodes"]:
            run([self.lab, "nodetool", "--cluster", self.cluster, "--node", str(node["index"]), "compact", keyspace],
                self.env)

    def ringvault(self, *arguments: str, ok=(0,)) -> str:
        """Runs the command line program, and shows the reader what was typed."""
        print(f"   $ ringvault {shlex.join(arguments)}", file=sys.stderr, flush=True)
        said = run([self.ringvault_path, *arguments], self.env, ok)
        if "--json" not in arguments:
            sys.stderr.writelines(f"   {line}\n" for line in said.splitlines())
        return said

    def ringvault_json(self, *arguments: str, ok=(0,)) -> dict:
        """The same, as JSON."""
        return json.loads(self.ringvault(*arguments, "--json", ok=ok))
