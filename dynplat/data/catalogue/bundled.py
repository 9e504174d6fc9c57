"""Data sets that statsmodels ships, so that they load with no network: CO2, Nile, sunspots, El Niño, US macroeconomics.

Annual, quarterly and monthly figures are means or totals over their period, not readings at a date: their times are
decimal years at the period's start (1959.25 is the second quarter of 1959), on a regular grid. The weekly CO2 readings
keep their dates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dynplat.data.trajectories import Trajectories

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

#: Channel of `us-macro` -> unit, as statsmodels' description of the table has it.
MACRO_UNITS = {
    "realgdp": "1e9 USD (2005, chained) per year",
    "realcons": "1e9 USD (2005, chained) per year",
    "realinv": "1e9 USD (2005, chained) per year",
    "realgovt": "1e9 USD (2005, chained) per year",
    "realdpi": "1e9 USD (2005, chained) per year",
    "cpi": "index, 1982-84 = 100",
    "m1": "1e9 USD",
    "tbilrate": "percent per year",
    "unemp": "percent",
    "pop": "1e6 persons",
    "infl": "percent per year",
    "realint": "percent per year",
}


def load_mauna_loa_co2() -> Trajectories:
    """Atmospheric CO2 at Mauna Loa, weekly, 1958-03-29 to 2001-12-29: 2284 weeks, 59 of them missing in 22 gaps.

    Returns:
        One series, channel `co2` in ppm; times in days since the first week.
    """
    frame = _table("co2")
    return Trajectories.from_arrays(
        frame.index.to_numpy(), frame["co2"].to_numpy(dtype=np.float64), channels=["co2"], units={"co2": "ppm"}
    )


def load_nile() -> Trajectories:
    """Annual flow of the Nile at Aswan, 1871-1970: 100 years, channel `volume` in 1e8 m3."""
    frame = _table("nile")
    return _yearly(frame["year"], frame["volume"], "volume", "1e8 m3")


def load_sunspots() -> Trajectories:
    """Yearly mean sunspot number, 1700-2008: 309 years, channel `sunspots`."""
    frame = _table("sunspots")
    return _yearly(frame["YEAR"], frame["SUNACTIVITY"], "sunspots", "sunspot number")


def load_el_nino() -> Trajectories:
    """Monthly mean sea-surface temperature of the region Niño 1+2, January 1950 to December 2010: 732 months.

    The source's table has one row per year and one column per month; rows are laid end to end.

    Returns:
        One series, channel `temperature` in degC; times in decimal years, month m of year Y at Y + (m - 1)/12.
    """
    frame = _table("elnino")
    # One division for the whole sum: the quotient is the nearest float to the decimal year.
    months = frame["YEAR"].to_numpy(dtype=np.float64)[:, None] * 12 + np.arange(12)
    values = frame[list(_MONTHS)].to_numpy(dtype=np.float64)
    return _yearly(months.ravel() / 12, values.ravel(), "temperature", "degC")


def load_us_macro() -> Trajectories:
    """Quarterly macroeconomic figures of the United States, 1959 Q1 to 2009 Q3: 203 quarters of 12 channels.

    `infl` and `realint` of the first quarter are 0 in the source because there is no quarter before it; they are
    returned as missing.

    Returns:
        One series; times in decimal years, quarter q of year Y at Y + (q - 1)/4; units in `MACRO_UNITS`.
    """
    frame = _table("macrodata")
    times = frame["year"].to_numpy(dtype=np.float64) + (frame["quarter"].to_numpy(dtype=np.float64) - 1) / 4
    values = frame[list(MACRO_UNITS)].to_numpy(dtype=np.float64)
    columns = list(MACRO_UNITS)
    values[0, [columns.index("infl"), columns.index("realint")]] = np.nan
    return Trajectories.from_arrays(times, values, channels=columns, units=MACRO_UNITS, time_unit="year")


def _table(name: str) -> Any:
    import importlib

    # The submodule alone: `statsmodels.api` would import ten times as much.
    return importlib.import_module(f"statsmodels.datasets.{name}").load_pandas().data


def _yearly(times: Any, values: Any, channel: str, unit: str) -> Trajectories:
    return Trajectories.from_arrays(
        np.asarray(times, dtype=np.float64),
        np.asarray(values, dtype=np.float64),
        channels=[channel],
        units={channel: unit},
        time_unit="year",
    )
