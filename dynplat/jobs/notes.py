"""What the user of a table should know: what could not be filled, and where an interval means less than it seems to."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from dynplat.data.clock import show_label

if TYPE_CHECKING:
    from dynplat.data import Table, Trajectories

#: Observed values of a column below which its user is told so: a model has about this many parameters per column.
_FEW_CELLS = 6
#: A single value is pointed out when it makes up this share of its column's variance and lies this many median
#: distances from the median (a Gaussian value lies beyond 10 of them once in 1e11): the models' noise is Gaussian.
_OUTLIER_SHARE, _OUTLIER_DISTANCE = 0.5, 20
#: Names, in lower case, of columns that tell series apart.
_ID_NAMES = ("id", "series", "series_id")


def notes_on(table: Table, *, told: Collection[str] = ()) -> list[str]:
    """Say which rows and channels could not be filled, and where an interval means less than it seems to.

    Args:
        table: The table.
        told: Channels that never move and of which the fit has said so itself.
    """
    data: Trajectories = table.trajectories
    notes = [f"row {row}: {reason}" for row, reason in table.notes[:20]]
    if len(table.notes) > 20:
        notes.append(f"and {len(table.notes) - 20} more rows of that kind")
    notes += _unused_ids(table)
    notes += [
        f"column {name!r}: {what}"
        for c, name in enumerate(data.channels)
        if name not in told and (what := _doubt(data, c))
    ]
    if data.num_series > 1:
        counts = data.mask.sum(axis=(1, 2))
        for count, what in ((0, "nothing observed; what is said of them rests on the prior and the other series"),
                            (1, "a single observed value each")):  # fmt: skip
            few = [str(name) for name, seen in zip(data.series, counts, strict=True) if seen == count]
            if few:
                more = f" and {len(few) - 5} more" if len(few) > 5 else ""
                notes.append(f"series {', '.join(few[:5])}{more}: {what}")
    return notes


def _unused_ids(table: Table) -> list[str]:
    """Say so where a column is named like one of ids and was not asked to be it."""
    if table.id is not None:
        return []
    notes = []
    for name in table.frame.columns:
        if str(name).lower() not in _ID_NAMES or name == table.time:
            continue
        cells = list(dict.fromkeys(map(str, table.frame[name])))
        # One text for every row numbers the rows; numbers are worth a word even then, because they became a channel.
        if len(cells) < 2 or (len(cells) == table.num_rows and name not in table.columns):
            continue
        what = "was taken as a channel" if name in table.columns else "was not used"
        shown = ", ".join(cells[:3]) + (", ..." if len(cells) > 3 else "")
        notes.append(
            f"column {name!r} ({shown}) {what}, and all rows are one series. If it names the series, say `--id {name}`."
        )
    return notes


def _sentinel(seen: np.ndarray) -> str:
    """Point out an end of the values that stands there again and again, apart from all others by more than they span.

    A number written in nines only is taken for a mark already where it lies half that far away.
    """
    for end in (seen.min(), seen.max()):
        count, rest = int((seen == end).sum()), seen[seen != end]
        gap, span = np.abs(rest - end).min(), np.ptp(rest)
        nines = set(f"{abs(end):.15g}".replace(".", "")) == {"9"}
        if count > 1 and span > 0 and gap > span * (0.5 if nines else 1.0):
            return (
                f"the value {end:.15g} stands there {count} times, far from all others ({rest.min():g} to "
                f"{rest.max():g}), and is taken as observed. If it marks a missing value, say `--missing {end:.15g}`."
            )
    return ""


def _doubt(data: Trajectories, c: int) -> str:
    """Say why the intervals of a channel may mislead, or nothing."""
    mask = data.mask[:, :, c]
    seen = data.values[:, :, c][mask]
    if seen.size == 0:
        return "nothing observed, so nothing is said of it"
    if seen.size == 1:
        return "a single observed value; its intervals rest on the prior"
    if np.ptp(seen) == 0:
        return f"all {seen.size} observed values are {seen[0]:g}; how far it may move cannot be told from them"
    if seen.size < _FEW_CELLS:
        return f"only {seen.size} observed values; its intervals rest on the prior, and are too narrow without `nuts`"
    if mark := _sentinel(seen):
        return mark
    away = np.abs(seen - np.median(seen)) / np.ptp(seen)
    worst = int(np.argmax(away))
    share = float(away[worst] ** 2 / np.sum(away**2))
    if share < _OUTLIER_SHARE or away[worst] < _OUTLIER_DISTANCE * np.median(away):
        return ""
    where = np.argwhere(mask)[worst]
    return (
        f"the value {seen[worst]:g} at {data.time_name} {show_label(data.labels[tuple(where)])} makes up "
        f"{100 * share:.0f} % of the variance and widens every interval. If it is a mistake, empty its cell."
    )
