"""Ringvault's own steps of a backup's life, each a process of its own: `shared/vault/tests/bench_vault.rs`."""

import json
import os

from programs import timed

CLIENT = os.environ["RINGVAULT_BENCH_CLIENT"]


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
