"""Loads of equal requests, made by wrk."""

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from processes import cpu_seconds

# Log rows and settled keys leave in batches up to half a second later; their cost belongs to the load.
AFTERMATH_SECONDS = 0.8


@dataclass(frozen=True)
class Target:
    """Where a load goes, and whose CPU time it costs."""

    name: str
    url: str
    body: Path
    headers: dict[str, str]
    pid: int


@dataclass(frozen=True)
class Load:
    requests: int
    seconds: int
    cpu_us: float
    """CPU time per request in microseconds."""
    p50_ms: float
    p99_ms: float


def drive(target: Target, connections: int, seconds: int) -> Load:
    """Keeps `connections` busy for that long; a failed request spoils the measurement and ends it."""
    headers = [text for pair in target.headers.items() for text in pair]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s"]
    command += ["-s", str(Path(__file__).with_name("post.lua")), target.url, "--", str(target.body), *headers]
    before = cpu_seconds(target.pid)
    output = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True).stdout
    time.sleep(AFTERMATH_SECONDS)
    spent = cpu_seconds(target.pid) - before
    result = json.loads(output.splitlines()[-1])
    if result["failed"] or not result["requests"]:
        raise SystemExit(f"{target.name}: {result['failed']} of {result['requests']} requests failed")
    requests = result["requests"]
    return Load(requests, result["seconds"], spent / requests * 1e6, result["p50_ms"], result["p99_ms"])


def alternate(targets: list[Target], connections: int, seconds: int, rounds: int) -> dict[str, list[Load]]:
    """The loads of each target by its name: A B C, A B C, … so that all see the same weather."""
    loads = {target.name: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            loads[target.name].append(drive(target, connections, seconds))
    return loads
