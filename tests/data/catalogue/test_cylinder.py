from __future__ import annotations

import numpy as np
import pytest

from dynplat.data.catalogue import cylinder
from dynplat.errors import DataError


@pytest.fixture(scope="module")
def data(mirror):
    return cylinder.load_cylinder_wake()


def test_table_has_3000_steps_and_nine_coefficients(data):
    assert data.mask.shape == (1, 3000, 9)
    assert data.channels == cylinder.CHANNELS
    np.testing.assert_allclose(np.diff(data.times[0]), 0.1, rtol=1e-9)


def test_departure_is_slow_kept_and_left_out_on_request(data, mirror):
    early = data.times[0] < cylinder.DEPARTURE
    assert early.sum() == 600
    amplitude = np.abs(data.values[0, :, :2])
    assert amplitude[early].max() < 0.4
    assert amplitude[~early].max() > 2.0
    late = cylinder.load_cylinder_wake(departure=False)
    assert late.mask.shape == (1, 2400, 9)
    np.testing.assert_array_equal(late.values[0], data.values[0, ~early])
    assert late.times[0, 0] == 60.0


def test_vortices_are_shed_at_frequency_018(data):
    cycle = data.values[0, 1500:, 0]
    window = np.hanning(len(cycle))
    power = np.abs(np.fft.rfft(cycle * window, 16 * len(cycle)))
    frequency = np.fft.rfftfreq(16 * len(cycle), 0.1)[power.argmax()]
    assert frequency == pytest.approx(0.18, abs=0.005)


def test_other_width_is_refused(tmp_path):
    path = tmp_path / "a.dat"
    path.write_text("0.0 1.0 2.0\n0.1 1.0 2.0\n")
    with pytest.raises(DataError, match="time and 9 coefficients are expected; got 3 columns"):
        cylinder.read_coefficients(path, departure=True)
