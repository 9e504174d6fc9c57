"""Simulate `stations.csv`, the table of the quickstart: two weather stations, irregular times, holes.

Nothing here was measured. Run it to get the same file again.
"""

import numpy as np
import pandas as pd


def simulate(station: str, num_rows: int, level: float, seed: int) -> pd.DataFrame:
    """Simulate one station: a daily wave and an Ornstein-Uhlenbeck process in temperature, Brownian air pressure."""
    rng = np.random.default_rng(seed)
    minutes = np.cumsum(rng.integers(70, 170, num_rows))
    days = minutes / 1440.0
    gaps = np.diff(days, prepend=days[0] - 1.0)
    weather, pressure = np.empty(num_rows), np.empty(num_rows)
    now, high = 0.0, 1013.0
    for row, gap in enumerate(gaps):
        keep = np.exp(-1.5 * gap)
        now = keep * now + 1.6 * np.sqrt(1 - keep**2) * rng.standard_normal()
        high = high + 4.0 * np.sqrt(min(gap, 0.2)) * rng.standard_normal()
        weather[row], pressure[row] = now, high
    temperature = level + 4.5 * np.sin(2 * np.pi * (days - 0.4)) + weather + 0.25 * rng.standard_normal(num_rows)
    pressure = pressure + 0.3 * rng.standard_normal(num_rows)
    temperature[rng.random(num_rows) < 0.12] = np.nan
    pressure[rng.random(num_rows) < 0.12] = np.nan
    if num_rows > 150:
        temperature[80:89] = np.nan  # a sensor that was off for most of a day
    return pd.DataFrame(
        {
            "station": station,
            "when": pd.Timestamp("2024-03-01") + pd.to_timedelta(minutes, unit="min"),
            "temperature": np.round(temperature, 1),
            "pressure": np.round(pressure, 1),
        }
    )


if __name__ == "__main__":
    table = pd.concat([simulate("north", 160, 8.0, seed=1), simulate("south", 110, 14.0, seed=2)])
    table.to_csv("stations.csv", index=False, date_format="%Y-%m-%d %H:%M")
