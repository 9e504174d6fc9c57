"""PhysioNet/CinC Challenge 2012, set A: the first 48 hours of intensive-care stays, irregular and mostly missing.

Silva, Moody, Scott, Celi and Mark (2012), Computing in Cardiology 39:245-248; files and codes as described at
https://physionet.org/content/challenge-2012/1.0.0/. A stay is a text file of rows `hh:mm,code,value`, hh:mm since
admission and up to 48:00.

How the traps are handled:

- -1 in Height, Weight or Gender (and in the outcomes' scores, length and survival) means unknown: NaN. No other
  negative value is touched; two temperatures of -17.8 degC (0 degF) stay, like every implausible reading.
- Several values of one code at one minute (1012 of them in the first 1000 stays): readings are averaged, urine volumes
  are added.
- Rows of RecordID, Age, Gender, Height, ICUType and the first Weight at 00:00 are static. Later weights are a channel.
- Public copies differ. One (from which the mirror's zip was made) has no ICUType, which is NaN then, and 126 rows of
  Age too many in 97 of the first 1000 stays, with ages of 91 to 95 and of 200 (a hidden one). The smallest age, at most
  90, is what another copy has for every one of these stays, and is what is taken here.
- The first 1000 record numbers are not random in time: compare models on splits of your own, by stay.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from dynplat.data.catalogue.choices import check_choice
from dynplat.data.catalogue.fetch import fetch
from dynplat.data.catalogue.registry import PHYSIONET_OUTCOMES, PHYSIONET_STAYS
from dynplat.data.trajectories import Trajectories
from dynplat.errors import DataError

#: Channel -> unit, in the order of the channels.
UNITS = {
    "Albumin": "g/dL",
    "ALP": "IU/L",
    "ALT": "IU/L",
    "AST": "IU/L",
    "Bilirubin": "mg/dL",
    "BUN": "mg/dL",
    "Cholesterol": "mg/dL",
    "Creatinine": "mg/dL",
    "DiasABP": "mmHg",
    "FiO2": "fraction",
    "GCS": "score, 3-15",
    "Glucose": "mg/dL",
    "HCO3": "mmol/L",
    "HCT": "percent",
    "HR": "1/min",
    "K": "mEq/L",
    "Lactate": "mmol/L",
    "MAP": "mmHg",
    "MechVent": "1 = ventilated",
    "Mg": "mmol/L",
    "Na": "mEq/L",
    "NIDiasABP": "mmHg",
    "NIMAP": "mmHg",
    "NISysABP": "mmHg",
    "PaCO2": "mmHg",
    "PaO2": "mmHg",
    "pH": "pH",
    "Platelets": "1e9/L",
    "RespRate": "1/min",
    "SaO2": "percent",
    "SysABP": "mmHg",
    "Temp": "degC",
    "TroponinI": "ug/L",
    "TroponinT": "ug/L",
    "Urine": "mL",
    "WBC": "1e9/L",
    "Weight": "kg",
}
#: Codes of the rows at 00:00 that describe a stay.
STATIC = ("Age", "Gender", "Height", "ICUType", "Weight")
_UNKNOWN_AT_MINUS_ONE = ("Gender", "Height", "Weight")
_OLDEST = 90.0
_NUM_STAYS = 4000


class Stay(NamedTuple):
    """One text file.

    Attributes:
        record: Record number.
        minutes: Minutes since admission of each measurement, (row,).
        codes: Index of its channel in `UNITS`, (row,).
        values: Its value, (row,).
        static: Age, Gender, Height, ICUType, Weight, (5,); NaN where not known.
    """

    record: int
    minutes: np.ndarray
    codes: np.ndarray
    values: np.ndarray
    static: np.ndarray


def load_physionet_2012(*, stays: str = "first-1000") -> Trajectories:
    """Load intensive-care stays of set A as one series each.

    Args:
        stays: `first-1000` by record number, or `all` 4000 (from the official archive only: the mirror's copy holds the
            first 1000). The archive's digest could not be checked; the number of its stays is.

    Returns:
        Series named by record number; 37 channels; times in hours since admission. Static: `Age`, `Gender` (1 = male),
        `Height`, `ICUType` (1 coronary, 2 cardiac surgery recovery, 3 medical, 4 surgical), `Weight` on admission, and
        the outcomes `SAPS-I`, `SOFA`, `Length_of_stay` and `Survival` in days, `In-hospital_death`. Outcomes are known
        only afterwards: no model may use them as covariates.

    Raises:
        DataError: A file is not to be had, or a row cannot be read.
    """
    check_choice("stays", stays, ("first-1000", "all"))
    path = fetch(PHYSIONET_STAYS)
    outcomes = read_outcomes(fetch(PHYSIONET_OUTCOMES))
    records = list(read_stays(path, None if stays == "all" else sorted(outcomes)[:1000]))
    return assemble(records, outcomes)


def read_stays(path: Path, wanted: list[int] | None) -> Iterator[Stay]:
    """Read stays by record number out of a zip or a tar archive; nothing is written to disk.

    Args:
        path: The archive.
        wanted: Record numbers, or None for all 4000.

    Raises:
        DataError: The archive lacks stays, or a row cannot be read.
    """
    texts = _members(path)
    numbers = sorted(texts) if wanted is None else wanted
    lacking = [number for number in numbers if number not in texts]
    if lacking or (wanted is None and len(texts) != _NUM_STAYS):
        raise DataError(
            f"{len(numbers) if wanted else _NUM_STAYS} stays are expected; the archive holds {len(texts)} "
            f"and lacks {lacking[:3] if lacking else _NUM_STAYS - len(texts)}.",
            hint="With a mirror directory, ask for `stays='first-1000'`; otherwise delete the archive and try again.",
            source=path,
        )
    for number in numbers:
        yield parse_stay(texts[number], number, source=f"{path.name}/{number}.txt")


def _members(path: Path) -> dict[int, str]:
    found: dict[int, str] = {}
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    record = _record(name)
                    if record is not None:
                        found[record] = archive.read(name).decode("ascii")
        else:
            with tarfile.open(path) as archive:
                for member in archive:
                    record = _record(member.name)
                    stream = archive.extractfile(member) if record is not None else None
                    if record is not None and stream is not None:
                        found[record] = stream.read().decode("ascii")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, UnicodeDecodeError) as error:
        raise DataError(
            f"no archive of text files: {error}.", hint="Delete it and get it again.", source=path
        ) from error
    return found


def _record(name: str) -> int | None:
    place = PurePosixPath(name)
    return int(place.stem) if place.suffix == ".txt" and place.stem.isdecimal() else None


def parse_stay(text: str, record: int, *, source: object) -> Stay:
    """Parse one file.

    Raises:
        DataError: A row is not `hh:mm,code,number`, a time is after 48:00, or a code is unknown.
    """
    channels = {name: index for index, name in enumerate(UNITS)}
    static = dict.fromkeys(STATIC, np.nan)
    minutes: list[int] = []
    codes: list[int] = []
    values: list[float] = []
    weighed = False
    for row, line in enumerate(text.splitlines()[1:], start=2):
        if not line:
            continue
        minute, code, value = _parse_row(line, row, source)
        if code == "RecordID" or code == "":
            # A few official files hold rows without a code, whose value is -1.
            continue
        if code in STATIC and not (code == "Weight" and weighed):
            weighed = weighed or code == "Weight"
            known = value != -1.0 or code not in _UNKNOWN_AT_MINUS_ONE
            if known and not value >= static[code]:
                static[code] = min(value, _OLDEST) if code == "Age" else value
            continue
        if code not in channels:
            raise DataError(f"the code {code!r} is unknown.", source=source, row=row, column="Parameter")
        if value == -1.0 and code in _UNKNOWN_AT_MINUS_ONE:
            continue
        minutes.append(minute)
        codes.append(channels[code])
        values.append(value)
    return Stay(
        record,
        np.array(minutes, dtype=np.int64),
        np.array(codes, dtype=np.int64),
        np.array(values, dtype=np.float64),
        np.array([static[name] for name in STATIC]),
    )


def _parse_row(line: str, row: int, source: object) -> tuple[int, str, float]:
    try:
        time, code, value = line.split(",")
        hours, minutes = time.split(":")
        minute, number = 60 * int(hours) + int(minutes), float(value)
    except ValueError:
        raise DataError(f"a row `hh:mm,code,number` is expected; got {line!r}.", source=source, row=row) from None
    if not 0 <= minute <= 48 * 60 or int(minutes) > 59:
        raise DataError(f"a time from 00:00 to 48:00 is expected; got {time!r}.", source=source, row=row, column="Time")
    return minute, code, number


def assemble(records: list[Stay], outcomes: dict[int, dict[str, float]]) -> Trajectories:
    """Put stays side by side: one row per stay and minute, values of one code at one minute merged."""
    channels = list(UNITS)
    times, values = [], []
    for stay in records:
        moments, rows = np.unique(stay.minutes, return_inverse=True)
        total = np.zeros((len(moments), len(channels)))
        count = np.zeros_like(total)
        np.add.at(total, (rows, stay.codes), stay.values)
        np.add.at(count, (rows, stay.codes), 1.0)
        # Readings are averaged. Urine is a volume since the last entry: entries of one minute belong together.
        weight = count.copy()
        urine = channels.index("Urine")
        weight[:, urine] = np.minimum(count[:, urine], 1.0)
        times.append(moments / 60)
        values.append(np.where(count > 0, total / np.maximum(weight, 1.0), np.nan))
    static = {name: np.array([stay.static[index] for stay in records]) for index, name in enumerate(STATIC)}
    for name in next(iter(outcomes.values())):
        static[name] = np.array([outcomes[stay.record][name] for stay in records])
    return Trajectories.from_arrays(
        times,
        values,
        series=[str(stay.record) for stay in records],
        channels=channels,
        units=UNITS,
        static=static,
        time_unit="h",
    )


def read_outcomes(path: Path) -> dict[int, dict[str, float]]:
    """Read the outcomes by record number; -1 (no score, no length, no death observed) becomes NaN."""
    head, *lines = path.read_text(encoding="ascii").splitlines()
    names = head.split(",")[1:]
    table = {}
    for line in lines:
        record, *numbers = line.split(",")
        table[int(record)] = {
            name: np.nan if number == "-1" else float(number) for name, number in zip(names, numbers, strict=True)
        }
    return table
