"""Pictures of predictions: what was observed, what was filled in, and how sure that is. Arrays in, a PNG out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dynplat.data import Trajectories
    from dynplat.posterior import Prediction

_OBSERVED, _FILLED, _BAND = "#1f3b57", "#d1495b", "#edae9f"
_MAX_PANELS = 12
_CLOSE_ROWS = 100


def plot_prediction(
    data: Trajectories,
    prediction: Prediction,
    *,
    level: float = 0.9,
    title: str = "",
    ahead: bool = False,
) -> Any:
    """Draw observations, the predicted values and their interval, one panel per series and channel.

    Args:
        data: What was observed.
        prediction: The prediction: at the rows of `data`, or at times after them.
        level: Level of the interval.
        title: Title of the picture.
        ahead: Whether the prediction is a forecast; otherwise its rows are those of `data`.

    Returns:
        A matplotlib figure that belongs to no window. At most 12 panels are drawn, those with most holes first; the
        title says how many there are. A forecast is drawn after the end of its series only, so that it can be seen.
    """
    from matplotlib.figure import Figure

    lower, upper = (np.asarray(end) for end in prediction.interval(level))
    mean, times, valid = (np.asarray(prediction.dataset[name]) for name in ("mean", "times", "valid"))
    panels = _choose_panels(data)
    shown = panels[:_MAX_PANELS]
    closer = _closer_look(data, *shown[0]) if len(panels) == 1 and not ahead else None
    if closer is not None:
        shown = [shown[0], shown[0]]
    columns = 1 if len(shown) <= 3 else 2
    height = int(np.ceil(len(shown) / columns))
    figure = Figure(figsize=(10.0 if columns == 1 else 14.0, 1.2 + 2.7 * height), layout="constrained")
    axes = figure.subplots(height, columns, squeeze=False)
    for axis in axes.ravel()[len(shown) :]:
        axis.set_axis_off()
    for axis, (s, c) in zip(axes.ravel(), shown, strict=False):
        here = valid[s]
        band = (mean[s, here, c], lower[s, here, c], upper[s, here, c])
        _draw_panel(axis, data, s, c, data.to_labels(times[s, here]), band, level, ahead)
    if closer is not None:
        _zoom(axes[1, 0], data, *shown[0], closer, lower, upper)
    note = f" ({len(shown)} of {len(panels)} panels)" if len(panels) > len(shown) else ""
    if title or note:
        figure.suptitle(f"{title}{note}")
    if shown:
        # Outside the panels: a picture full of points has no free corner.
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize="small", frameon=False)
    return figure


def _choose_panels(data: Trajectories) -> list[tuple[int, int]]:
    holes = {
        (s, c): int((~data.mask[s, : int(data.lengths[s]), c]).sum())
        for s in range(data.num_series)
        for c in range(len(data.channels))
    }
    if len(holes) <= _MAX_PANELS:
        return list(holes)
    return sorted(holes, key=lambda key: -holes[key])


def _closer_look(data: Trajectories, s: int, c: int) -> slice | None:
    """Rows of the stretch with most holes, where a long series would hide them; None for a short or whole one."""
    length = int(data.lengths[s])
    width = max(_CLOSE_ROWS, length // 20)
    if length <= 3 * width:
        return None
    holes = np.concatenate([[0], np.cumsum(~data.mask[s, :length, c])])
    inside = holes[width:] - holes[:-width]
    if not inside.any():
        return None
    first = int(np.argmax(inside))
    return slice(first, first + width)


def _zoom(axis: Any, data: Trajectories, s: int, c: int, rows: slice, lower: np.ndarray, upper: np.ndarray) -> None:
    """Restrict a panel to some rows, with larger marks."""
    labels = data.to_labels(data.times[s, rows])
    axis.set_xlim(labels[0], labels[-1])
    values = np.concatenate([data.values[s, rows, c][data.mask[s, rows, c]], lower[s, rows, c], upper[s, rows, c]])
    margin = 0.05 * float(np.ptp(values)) or 1.0
    axis.set_ylim(values.min() - margin, values.max() + margin)
    for line in axis.lines:
        line.set_markersize(5.0)
    axis.set_title("the stretch with most holes", fontsize="small", loc="left")


def _draw_panel(
    axis: Any,
    data: Trajectories,
    s: int,
    c: int,
    time: np.ndarray,
    band: tuple[np.ndarray, np.ndarray, np.ndarray],
    level: float,
    ahead: bool,
) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    mean, lower, upper = band
    length = int(data.lengths[s])
    # The end of the series, several times as long as what is said of its future.
    first = max(length - max(_CLOSE_ROWS, 5 * time.size), 0) if ahead else 0
    seen_time, seen = data.to_labels(data.times[s, first:length]), data.mask[s, first:length, c]
    shown = np.ones(time.size, dtype=bool) if ahead else _widen(~seen)
    axis.fill_between(
        time, lower, upper, where=shown, color=_BAND, alpha=0.65, lw=0.6, label=f"{100 * level:g} % interval"
    )
    axis.plot(seen_time[seen], data.values[s, first:length, c][seen], ".", ms=2.5, color=_OBSERVED, label="observed")
    if ahead:
        axis.plot(time, mean, "-", lw=1.2, color=_FILLED, label="forecast")
    else:
        axis.plot(time[~seen], mean[~seen], ".", ms=2.5, color=_FILLED, label="filled")
    unit = data.units.get(data.channels[c], "")
    prefix = f"{data.series[s]}: " if data.num_series > 1 else ""
    axis.set_ylabel(f"{prefix}{data.channels[c]}" + (f" [{unit}]" if unit else ""))
    if data.is_datetime:
        import pandas as pd

        # pandas reads offsets such as +09:00 as well as names.
        zone = pd.Timestamp(0, tz=data.time_zone).tzinfo if data.time_zone else None
        locator = AutoDateLocator(tz=zone)
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))
        if data.time_zone:
            axis.set_xlabel(data.time_zone)
    elif data.time_unit:
        axis.set_xlabel(f"time [{data.time_unit}]")
    axis.grid(alpha=0.25, lw=0.5)
    axis.margins(x=0.01)


def _widen(hole: np.ndarray) -> np.ndarray:
    """A hole and its two neighbours, so that a single missing row has a visible band."""
    wide = hole.copy()
    wide[1:] |= hole[:-1]
    wide[:-1] |= hole[1:]
    return wide


def save_figure(figure: Any, path: str | Path) -> None:
    """Write a figure whole or not at all: to a temporary file beside `path`, then moved onto it.

    Raises:
        StorageError: The file cannot be written; an existing file stays as it was.
    """
    from dynplat.data.atomic import replacing

    path = Path(path)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format=path.suffix.lstrip(".").lower() or "png")
