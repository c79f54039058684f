"""Programs run from beginning to end, and what the operating system says of each when it has ended."""

import os
import subprocess
import sys
import time

# Without settings of the cloud's that whoever runs this has.
AROUND = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def timed(command, log_file, env=None):
    """Runs to the end: seconds, CPU seconds and peak MiB. Any exit code but 0 ends the benchmark."""
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
