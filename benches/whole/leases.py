"""What a request pays for its key, as the micro bench has just measured it."""

import json
from pathlib import Path

from report import Row, plain, times

GROUP = "acquire and settle, half of the keys cooling"


def median_ns(target: Path, name: str) -> float:
    """Criterion keeps the estimates of its last run here."""
    estimates = target / "criterion" / GROUP / name / "new" / "estimates.json"
    return json.loads(estimates.read_text())["median"]["point_estimate"]


def leases(target: Path) -> list[Row]:
    few, many = (median_ns(target, f"p2c, {keys} keys") / 1000 for keys in (10, 100_000))
    return [
        plain("acquire and settle, 10 keys, median", few, 1, "µs"),
        times("acquire and settle, 100000 keys, half cooling", many, few, "10 keys", 1.5, "µs"),
    ]
