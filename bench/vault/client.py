"""Ringvault's own steps of a backup's life, each a process of its own: `shared/vault/tests/bench_vault.rs`."""

import json
import os
import subprocess
import sys
import time

CLIENT = os.environ["RINGVAULT_BENCH_CLIENT"]
# Without settings of the cloud's that whoever runs this has.
AROUND = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def timed(command, log_file, env=None):
    """Runs to the end: seconds, CPU seconds and peak MiB, as the operating system says when it has ended."""
    with open(log_file, "ab") as log:
        log.write(f"\n$ {' '.join(map(str, command))}\n".encode())
        log.flush()
        began = time.monotonic()
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log,
                                   env={**AROUND, **(env or {})})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command} ended with {process.returncode}: see {log_file}")
    return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "mib": usage.ru_maxrss / 1024}


class Vault:
    """A new vault with these settings; `folder` is for them, journals and temporary files."""

    def __init__(self, folder, settings):
        self.folder = folder
        (self.folder / "vault.json").write_text(json.dumps(settings))
        self.step("init")

    def step(self, step, backup="", data="", to=""):
        env = {"STEP": step, "VAULT": self.folder / "vault.json", "STATE": self.folder, "BACKUP": backup,
               "DATA": data, "TO": to}
        return timed([CLIENT, "--ignored", "--exact", "step", "--nocapture"], self.folder / "log",
                     {f"RINGVAULT_BENCH_{name}": str(value) for name, value in env.items()})

    def backup(self, name, data):
        return self.step("backup", name, data)

    def presence(self, name):
        return self.step("presence", name)

    def digest(self, name):
        return self.step("digest", name)

    def download(self, name, to):
        return self.step("download", name, to=to)

    def delete(self, name):
        return self.step("delete", name)

    def list(self):
        return self.step("list")
