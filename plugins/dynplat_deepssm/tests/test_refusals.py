"""What is refused, with the name of the argument, what was expected, what came and what to do."""

import numpy as np
import pytest

from dynplat.errors import ArgumentError, CapabilityError
from dynplat_deepssm.blocks import Bidirectional
from dynplat_deepssm.cells import LRU, S4D, S5, Companion, DeltaNet, HiPPO, Mamba, Mamba2, Taps
from dynplat_deepssm.cells.hippo import log_gaps
from dynplat_deepssm.executors import closed_loop, run, step

U, DT = np.ones((2, 5, 3)), np.ones((2, 5))


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (
            S4D(3, 4, discretisation="bilinear"),
            r"the bilinear rule is not exact on unequal gaps .* Take discretisation=",
        ),
        (S4D(3, 4, softmax_length=5), "a sum over a number of rows needs equal ones"),
        (HiPPO(3, 4, discretisation="bilinear"), r"bilinear rules are not exact on unequal gaps .*'zoh' or 'foh'"),
        (Companion(3, 4), "Companion cannot take `dt`: it counts rows and does not know time. Bring the data to equal"),
        (Taps(3), "Taps cannot take `dt`"),
    ],
)
def test_gaps_are_refused_by_what_is_not_exact_on_them(cell, words):
    with pytest.raises(CapabilityError, match=words):
        run(cell, cell.init(0), U, DT)


def test_delta_rule_without_decay_takes_no_gaps():
    cell = DeltaNet(1, 2, 2)
    with pytest.raises(CapabilityError, match=r"its state does not decay between rows\. Take decays=True"):
        run(cell, {}, np.ones((4, cell.num_inputs)), np.ones(4))


@pytest.mark.parametrize(
    ("cell", "mode", "words"),
    [
        (
            LRU(3, 2),
            "convolution",
            r"LRU \(its transition is diagonal\) cannot run by `mode='convolution'`; use 'auto'",
        ),
        (S5(3, 2), "chunk", r"S5 \(its transition is diagonal\) cannot run by `mode='chunk'`"),
        (S5(3, 2), "fused", r"S5 \(its transition is diagonal\) cannot run by `mode='fused'`"),
        (Companion(3), "chunk", "its transition is companion"),
        (Taps(3), "scan", r"its transition is taps\) cannot run by `mode='scan'`; .*\['convolution', 'loop'\]"),
    ],
)
def test_modes_that_a_cell_does_not_have(cell, mode, words):
    with pytest.raises(CapabilityError, match=words):
        run(cell, cell.init(0), U, mode=mode)


def test_householder_products_have_no_scan():
    cell = DeltaNet(1, 2, 2)
    with pytest.raises(
        CapabilityError, match=r"its transition is householder\) cannot run by `mode='scan'`; .*'chunk'"
    ):
        run(cell, {}, np.ones((4, cell.num_inputs)), mode="scan")


def test_convolution_needs_equal_gaps():
    with pytest.raises(CapabilityError, match="`mode='convolution'` of S4D needs equal gaps, and `dt` gives one for"):
        run(S4D(3, 4), S4D(3, 4).init(0), U, DT, mode="convolution")


def test_arguments_that_do_not_fit():
    cell, weights = S5(3, 2, 4), S5(3, 2, 4).init(0)
    with pytest.raises(ArgumentError, match=r"`mode` must be one of \('loop', 'scan', .*'auto'\); got 'fft'"):
        run(cell, weights, U, mode="fft")
    with pytest.raises(ArgumentError, match=r"`u` of S5 must have shape \(\.\.\., time, 3\); got \(2, 5, 4\)"):
        run(cell, weights, np.ones((2, 5, 4)))
    with pytest.raises(ArgumentError, match=r"`u` of S5 must have shape \(\.\.\., time, 3\); got \(3,\)"):
        run(cell, weights, np.ones(3))
    with pytest.raises(ArgumentError, match=r"`u` must have at least one row; got shape \(2, 0, 3\)"):
        run(cell, weights, np.ones((2, 0, 3)))
    with pytest.raises(
        ArgumentError, match=r"`dt` must have shape \(\.\.\., time\) with the 5 rows of `u`; got \(2, 4\)"
    ):
        run(cell, weights, U, DT[:, :4])
    with pytest.raises(ArgumentError, match="`mask` must have shape"):
        run(cell, weights, U, mask=np.ones((2, 4), bool))
    with pytest.raises(
        ArgumentError, match=r"`dt` must be gaps of at least 0; the least is -1\. Sort the rows by time"
    ):
        run(cell, weights, U, -DT)
    with pytest.raises(ArgumentError, match="`times` must be above 0 for log time; the least is 0"):
        log_gaps(np.arange(3.0))


def test_closed_loops_that_cannot_be():
    cell, weights = S5(3, 2, 4), S5(3, 2, 4).init(0)
    with pytest.raises(CapabilityError, match="S5 cannot run in a closed loop: it takes 3 inputs and gives 2 outputs"):
        closed_loop(cell, weights, None, U[:, 0], 3)
    both = Bidirectional(S5(3, 3, 4), S5(3, 3, 4))
    with pytest.raises(CapabilityError, match="gives 3 outputs, and reads later rows"):
        closed_loop(both, both.init(0), None, U[:, 0], 3)
    with pytest.raises(CapabilityError, match="Bidirectional cannot run one row at a time: it reads later rows"):
        step(both, both.init(0), None, U[:, 0])
    with pytest.raises(CapabilityError, match="`state` of a bidirectional layer must be None"):
        run(both, both.init(0), U, state=(None, None))
    cell, weights = LRU(3, 3), LRU(3, 3).init(0)
    state = run(cell, weights, U)[1]
    with pytest.raises(ArgumentError, match="`num_steps` must be at least 1; got 0"):
        closed_loop(cell, weights, state, U[:, 0], 0)
    with pytest.raises(ArgumentError, match="`state` of a closed loop must be what `run` gave for the past; got None"):
        closed_loop(cell, weights, None, U[:, 0], 2)
    with pytest.raises(ArgumentError, match=r"`dt` must hold a gap for each of the 3 steps; got shape \(2, 5\)"):
        closed_loop(cell, weights, state, U[:, 0], 3, DT)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (S5, {"num_outputs": 2, "num_states": 6, "num_blocks": 2}, "a multiple of 2 num_blocks, .* 2 blocks; got 6"),
        (LRU, {"num_outputs": 2, "most": 1.0}, r"must be 0 < least <= most < 1; got 0\.9 and 1\.0"),
        (Taps, {"width": 1}, "`width` must be at least 2 taps; got 1"),
        (HiPPO, {"step": 0.0}, r"`step` must be positive; got 0\.0"),
        (HiPPO, {"num_states": 5, "basis": "fout"}, "`size` of the basis 'fout' must be even"),
        (HiPPO, {"discretisation": "euler"}, "`discretisation` must be one of .*; got 'euler'"),
        (S4D, {"softmax_length": 0}, "`softmax_length` must be at least 1, or None; got 0"),
        (S4D, {"start": "real", "softmax_length": 4}, "`softmax_length` is for complex rates; got start='real'"),
        (S4D, {"start": "hat"}, r"`start` must be one of \('legs', .*\); got 'hat'"),
        (S4D, {"discretisation": "foh"}, r"`discretisation` must be one of \('zoh', 'bilinear'\); got 'foh'"),
        (Mamba, {"eigenvalues": "no"}, r"`eigenvalues` must be one of \('positive', 'signed'\); got 'no'"),
        (Mamba2, {"eigenvalues": "no"}, r"`eigenvalues` must be one of \('positive', 'signed'\); got 'no'"),
        (DeltaNet, {"eigenvalues": "no"}, r"`eigenvalues` must be one of \('positive', 'signed'\); got 'no'"),
    ],
)
def test_options_that_do_not_fit(kind, options, words):
    with pytest.raises(ArgumentError, match=words):
        kind(3, **options)
