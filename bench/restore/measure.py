"""What a restore takes of the machine: seconds, CPU of who does it and of the node, memory, disk."""

import os
import pathlib
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 2**20


def _cpu(pid):
    """CPU seconds of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _peak_mib(pid):
    """The most memory that it has held since `_forget_peak`."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _forget_peak(pid):
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def _used(folder):
    state = os.statvfs(folder)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


class _Disk(threading.Thread):
    """The most that is used of a folder's file system, looked at ten times a second."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.before, self.over = folder, _used(folder), threading.Event()
        self.most = self.before

    def run(self):
        while not self.over.wait(0.1):
            self.most = max(self.most, _used(self.folder))

    def peak_mib(self):
        self.over.set()
        self.join()
        return (max(self.most, _used(self.folder)) - self.before) / MIB


class Measure:
    """Of a block: programs that it starts are added to it by `run`, those that run already are given."""

    def __init__(self, node, servants, folder, start):
        self.node, self.servants, self.folder, self.start = node, servants, folder, start
        self.cpu = self.mib = 0.0

    def run(self, command, env=None):
        """A program from beginning to end, which must succeed; whoever starts it is told its figures."""
        figures = self.start(command, env)
        self.cpu += figures["cpu"]
        self.mib = max(self.mib, figures["mib"])

    def __enter__(self):
        for pid in self.servants:
            _forget_peak(pid)
        self.before = {pid: _cpu(pid) for pid in [self.node, *self.servants]}
        self.disk = _Disk(self.folder)
        self.disk.start()
        self.began = time.monotonic()
        return self

    def __exit__(self, kind, *_):
        seconds = time.monotonic() - self.began
        disk = self.disk.peak_mib()
        if kind is not None:
            return
        spent = {pid: _cpu(pid) - before for pid, before in self.before.items()}
        self.figures = {
            "seconds": seconds,
            "cpu": self.cpu + sum(spent[pid] for pid in self.servants),
            "node_cpu": spent[self.node],
            "mib": max([self.mib, *(_peak_mib(pid) for pid in self.servants)]),
            "disk_mib": disk,
        }
