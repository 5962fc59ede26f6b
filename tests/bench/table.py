"""The rows, and how they are printed."""

from dataclasses import dataclass


@dataclass
class Row:
    """One line of the table. Values are texts, `met` is None where there is no budget."""

    what: str
    ours: str
    permit: str = ""
    duo: str = ""
    budget: str = ""
    met: bool | None = None


def limited(what, value, unit, limit, **others):
    """A row whose value has a budget: at most `limit`."""
    return Row(what, show(value, unit), budget=f"≤ {number(limit)} {unit}", met=value <= limit, **others)


def show(value, unit):
    return f"{number(value)} {unit}".rstrip()


def number(value):
    """As many digits as a person reads: three, at least the whole ones, thousands apart."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def slope(what, points, unit, per=1):
    """A row of how a value grows: the least-squares line through (size, value) at each size."""
    sizes, values = zip(*points)
    middle, level = sum(sizes) / len(points), sum(values) / len(points)
    spread = sum((size - middle) ** 2 for size in sizes)
    grows = sum((size - middle) * (value - level) for size, value in points) / spread if spread else 0.0
    return Row(f"… slope of {what}, {min(sizes):,} to {max(sizes):,}", show(grows * per, unit))


HEADER = ("what", "pam_permit", "pam_duo", "countersign", "budget", "met")


def cells(row):
    met = {None: "", True: "yes", False: "NO"}[row.met]
    return (row.what, row.permit, row.duo, row.ours, row.budget, met)


def draw(rows):
    lines = [HEADER, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    for line in lines:
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip()
