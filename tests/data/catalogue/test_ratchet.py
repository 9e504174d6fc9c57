from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from dynplat.data.catalogue import ratchet
from dynplat.errors import ArgumentError, DataError

STORED = np.linspace(0, 1, 100).astype(np.float32)


def arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "paths": rng.integers(0, 6, (10_000, 100)).astype(np.int16),
        "times": np.broadcast_to(STORED, (10_000, 100)),
        "time_normalization_factors": np.array([2.5], dtype=np.float32),
        "intensity_matrices": rng.random((1, 6, 6), dtype=np.float32),
        "initial_distributions": rng.random((1, 6), dtype=np.float32),
    }


def write_torch_zip(path, content: dict[str, np.ndarray]) -> None:
    """Write what the source holds: torch files, whose pickle must not be opened, inside a zip."""
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("__MACOSX/V=0/._fine_grid_grid.pt", b"junk")
        for name, (stem, dtype, _) in ratchet._STORAGES.items():
            inner = io.BytesIO()
            with zipfile.ZipFile(inner, "w") as file:
                file.writestr(f"fine_grid_{stem}/data.pkl", b"\x80\x02cos\nsystem\n(S'exit 1'\ntR.")
                file.writestr(f"fine_grid_{stem}/data/0", content[name].astype(dtype).tobytes())
            outer.writestr(f"V=0/fine_grid_{stem}.pt", inner.getvalue())


def test_torch_files_give_the_same_as_npz(tmp_path):
    content = arrays(np.random.default_rng(0))
    write_torch_zip(tmp_path / "a.zip", content)
    np.savez(tmp_path / "a.npz", **{**content, "times": STORED})
    one, other = (ratchet.read_ratchet(tmp_path / name) for name in ("a.zip", "a.npz"))
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_times_that_are_not_the_grid_are_refused(tmp_path):
    content = arrays(np.random.default_rng(0))
    np.savez(tmp_path / "a.npz", **{**content, "times": STORED, "time_normalization_factors": np.array([1.0])})
    with pytest.raises(DataError, match=r"100 regular times on \[0, 2\.5\] are expected"):
        ratchet.read_ratchet(tmp_path / "a.npz")


def test_array_of_another_size_is_refused(tmp_path):
    content = arrays(np.random.default_rng(0))
    write_torch_zip(tmp_path / "a.zip", {**content, "paths": content["paths"][:, :99]})
    with pytest.raises(DataError, match="holds 1980000 bytes, not an array"):
        ratchet.read_ratchet(tmp_path / "a.zip")


@pytest.fixture(scope="module", params=[0, 1])
def both(request, mirror):
    return request.param, ratchet.load_flashing_ratchet(potential=request.param)


def test_times_are_multiplied_back_to_a_regular_grid(both):
    _, data = both
    assert data.mask.shape == (10_000, 100, 1)
    assert data.times[0, [0, -1]].tolist() == [0.0, 2.5]
    np.testing.assert_allclose(np.diff(data.times[0]), 2.5 / 99, rtol=1e-13)
    assert set(np.unique(data.values).tolist()) == set(range(6))


def test_truth_is_the_law_of_a_flashing_ratchet(both):
    potential, _ = both
    truth = ratchet.load_truth(potential=potential)
    expected = np.zeros((6, 6))
    for i in range(3):
        for j in range(3):
            if i != j:
                expected[i, j] = np.exp(-potential * (j - i) / 2)
                expected[3 + i, 3 + j] = 1.0
        expected[i, 3 + i] = expected[3 + i, i] = 1.0
    np.fill_diagonal(expected, -expected.sum(axis=1))
    np.testing.assert_allclose(truth.rates, expected, rtol=2e-6)
    # Stationary start: the first law is left unchanged by the rates.
    np.testing.assert_allclose(truth.initial @ truth.rates, 0, atol=2e-6)


def test_paths_follow_the_true_rates(both):
    """Frequencies of one-step transitions against exp(Q dt): a chi-square, false alarm 1e-6 for each state."""
    from scipy.linalg import expm
    from scipy.stats import chi2

    potential, data = both
    states = data.values[..., 0].astype(int)
    matrix = expm(ratchet.load_truth(potential=potential).rates * 2.5 / 99)
    for state in range(6):
        following = np.bincount(states[:, 1:][states[:, :-1] == state], minlength=6)
        wanted = following.sum() * matrix[state] / matrix[state].sum()
        assert ((following - wanted) ** 2 / wanted).sum() < chi2.isf(1e-6, df=5)


def test_other_potentials_are_refused():
    with pytest.raises(ArgumentError, match="`potential` must be one of 0, 1; got 2"):
        ratchet.load_flashing_ratchet(potential=2)
