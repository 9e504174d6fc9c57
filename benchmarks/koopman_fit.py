"""Extended dynamic mode decomposition: dynplat beside other libraries, in one run.

`measurement.py` says how contenders are measured. All get the rows of one trajectory and the same functions: Gaussian
radial functions of two variables, or monomials of four up to degree 6. Two tasks: `fit`, from the rows to the operator;
`eigenvalues`, the same and all its eigenvalues, to which dynplat alone adds the residual of each. What is compared is
what the operator makes of the functions at 50 states (and the sum of the eigenvalues), to 1e-6.

Functions are evaluated by the fastest way there is for each peer: one call of `cdist` and an exponential in place, and
scikit-learn's `PolynomialFeatures` (deeptime's own monomials take nine times as long). deeptime and PyDMD compute
eigenvalues in every fit; for `fit`, deeptime is asked for one only, which is faster. PyDMD's `EDMD` works with a kernel
matrix of all pairs of rows; its `DMD` of function values is the same least squares. `dynplat, streamed` gets the rows
in pieces of 10,000, as from a file, and keeps none.

Run: OMP_NUM_THREADS=2 python benchmarks/koopman_fit.py [--quick] [--markdown FILE]
Peers: pip install deeptime kooplearn pydmd
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from measurement import Benchmark, main

#: (pairs, functions, task)
CASES = (
    (10_000, "rbf", "fit"),
    (10_000, "monomials", "fit"),
    (100_000, "rbf", "fit"),
    (100_000, "monomials", "fit"),
    (1_000_000, "rbf", "fit"),
    (10_000, "rbf", "eigenvalues"),
    (100_000, "rbf", "eigenvalues"),
)
QUICK = CASES[:2]

OURS = ("dynplat", "dynplat, streamed")
DEGREE = 6
PIECE = 10_000


def make_case(pairs: int, functions: str, task: str) -> dict[str, Any]:
    """Rows of a stationary trajectory in a box, centres where there are any, and the states to look at."""
    from scipy.cluster.vq import kmeans2
    from scipy.signal import lfilter

    rng = np.random.default_rng(0)
    d = 2 if functions == "rbf" else 4
    decay = np.linspace(0.7, 0.95, d)
    noise = rng.standard_normal((pairs + 1, d)) * np.sqrt(1 - decay**2)
    rows = np.tanh(np.stack([lfilter([1.0], [1.0, -decay[j]], noise[:, j]) for j in range(d)], axis=1))
    case = {"rows": rows, "task": task, "functions": functions, "states": rows[:: pairs // 50][:50]}
    if functions == "rbf":
        case["centres"] = kmeans2(rows[:2_000], 200, minit="++", rng=0)[0]
        case["width"] = 0.12
    return case


# ------------------------------------------------------------------------------------------------------- contenders
# Each returns a function without arguments that fits the operator K, psi(y) ~ psi(x) K.


def looked_at(case: dict[str, Any], functions: Callable[[np.ndarray], np.ndarray]) -> Callable[..., float]:
    """The value that is compared, of K as a function of function values, and of eigenvalues."""
    start = np.asarray(functions(case["states"]))

    def value(advance: Callable[[np.ndarray], np.ndarray], eigenvalues: np.ndarray | None = None) -> float:
        total = float(np.linalg.norm(advance(start)))
        return total if eigenvalues is None else total + abs(complex(eigenvalues.sum()))

    return value


def ours(case: dict[str, Any], pieces: Callable[[np.ndarray], Any]) -> Any:
    """Our operator from pairs or an iterator of pairs, and its eigenpairs."""
    from dynplat_koopman.dictionaries import Monomials, RadialBasis
    from dynplat_koopman.edmd import fit_edmd
    from dynplat_koopman.spectrum import eigenpairs

    is_radial = case["functions"] == "rbf"
    dictionary = RadialBasis(case["centres"], case["width"]) if is_radial else Monomials(4, DEGREE)
    value = looked_at(case, dictionary)

    def run() -> float:
        operator = fit_edmd(pieces(case["rows"]), dictionary)
        values = eigenpairs(operator).values if case["task"] == "eigenvalues" else None
        return value(lambda start: start @ operator.matrix, values)

    return run


def ours_whole(case: dict[str, Any], gradient: bool) -> Any:
    """Our operator from all rows."""
    from dynplat_koopman.pairs import Pairs

    return ours(case, lambda rows: Pairs(rows[:-1], rows[1:]))


def ours_streamed(case: dict[str, Any], gradient: bool) -> Any:
    """Our operator from pieces of the rows."""
    from dynplat_koopman.pairs import Pairs

    def pieces(rows: np.ndarray) -> Iterator[Pairs]:
        for start in range(0, len(rows) - 1, PIECE):
            piece = np.array(rows[start : start + PIECE + 1])
            yield Pairs(piece[:-1], piece[1:])

    return ours(case, pieces)


def basis_of(case: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Function values (M, N) for the peers."""
    if case["functions"] == "rbf":
        from scipy.spatial.distance import cdist

        def radial(x: np.ndarray) -> np.ndarray:
            values = cdist(x, case["centres"], "sqeuclidean")
            values *= -0.5 / case["width"] ** 2
            return np.exp(values, out=values)

        return radial
    from sklearn.preprocessing import PolynomialFeatures

    return PolynomialFeatures(DEGREE).fit_transform


def peer_deeptime(case: dict[str, Any], gradient: bool) -> Any:
    """Deeptime, `EDMD`."""
    from deeptime.decomposition import EDMD

    basis = basis_of(case)
    value, rows = looked_at(case, basis), case["rows"]
    all_eigenvalues = case["task"] == "eigenvalues"

    def run() -> float:
        model = EDMD(basis, n_eigs=None if all_eigenvalues else 1).fit((rows[:-1], rows[1:])).fetch_model()
        return value(lambda start: start @ model.operator, model.eigenvalues if all_eigenvalues else None)

    return run


def peer_kooplearn(case: dict[str, Any], gradient: bool) -> Any:
    """kooplearn, `Ridge` without penalty and without reduced rank."""
    from kooplearn.linear_model import Ridge

    basis = basis_of(case)
    value, rows = looked_at(case, basis), case["rows"]

    def run() -> float:
        model = Ridge(alpha=None, reduced_rank=False, copy_X=False).fit(basis(rows))
        return value(lambda start: start @ model.estimator_, model.eig() if case["task"] == "eigenvalues" else None)

    return run


def peer_pydmd(case: dict[str, Any], gradient: bool) -> Any:
    """PyDMD, `DMD` of function values."""
    from pydmd import DMD

    basis = basis_of(case)
    value, rows = looked_at(case, basis), case["rows"]

    def run() -> float:
        model = DMD(svd_rank=-1).fit(basis(rows).T)
        U, small = model._svd_modes, model.operator.as_numpy_array
        return value(
            lambda start: start @ U.conj() @ small.T @ U.T, model.eigs if case["task"] == "eigenvalues" else None
        )

    return run


def describe(case: tuple[Any, ...]) -> str:
    """Words for a case in a table."""
    pairs, functions, task = case
    return f"{pairs:,}, {'200 RBF' if functions == 'rbf' else '210 monomials'}, {task}"


BENCHMARK = Benchmark(
    doc=__doc__ or "",
    heading="Extended dynamic mode decomposition",
    columns="pairs, functions, task",
    file=__file__,
    cases=CASES,
    quick=QUICK,
    make_case=make_case,
    contenders={
        "dynplat": ours_whole,
        "dynplat, streamed": ours_streamed,
        "deeptime": peer_deeptime,
        "kooplearn": peer_kooplearn,
        "PyDMD": peer_pydmd,
    },
    ours=OURS,
    best_of=OURS[:1],
    too_large=lambda name, case: case[0] > {"PyDMD": 10_000}.get(name, 100_000) and name not in OURS,
    describe=describe,
    tolerance=1e-6,
    without_gradient=lambda case: True,
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
