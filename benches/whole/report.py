"""What was measured beside what was promised."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    what: str
    measured: str
    reference: str
    value: float
    limit: float
    unit: str

    @property
    def is_met(self) -> bool:
        return self.value <= self.limit


def ratio(what: str, ours: list[float], reference: list[float], limit: float, name: str = "nginx") -> Row:
    """Ours as a multiple of the reference, both in microseconds of CPU; the median of the rounds' ratios.

    The two loads of a round follow each other, so they see the same weather; those of different rounds may not.
    """
    ratios = [mine / theirs for mine, theirs in zip(ours, reference)]
    return Row(what, f"{median(ours):.1f} µs", f"{name} {median(reference):.1f} µs", median(ratios), limit, "×")


def difference(what: str, ours: float, reference: float, name: str, limit: float) -> Row:
    """How much longer than the reference ours takes, all in milliseconds."""
    return Row(what, f"{ours:.3f} ms", f"{name} {reference:.3f} ms", ours - reference, limit, "ms")


def times(what: str, ours: float, reference: float, name: str, limit: float, unit: str) -> Row:
    """Ours as a multiple of the reference, each measured once."""
    return Row(what, f"{ours:.3g} {unit}", f"{name} {reference:.3g} {unit}", ours / reference, limit, "×")


def plain(what: str, value: float, limit: float, unit: str) -> Row:
    return Row(what, f"{value:.3g} {unit}", "", value, limit, unit)


def table(rows: list[Row]) -> str:
    cells = [("", "measured", "beside", "result", "target", "")]
    for row in rows:
        verdict = "ok" if row.is_met else "MISSED"
        result, target = f"{row.value:.3g} {row.unit}", f"≤ {row.limit:g} {row.unit}"
        cells.append((row.what, row.measured, row.reference, result, target, verdict))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells
    )
