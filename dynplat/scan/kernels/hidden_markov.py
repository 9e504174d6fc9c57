r"""Compiled filter of hidden Markov chains and its adjoint, which is the smoother.

.. math::
    x_0 \sim \pi, \qquad p(x_t = j \mid x_{t-1} = i) = A_{t,ij}, \qquad y_t \mid x_t = j \sim p_j

Arrays hold logarithms, and logarithms of 0 are ordinary: log_initial (G, K); log_transition (G, T or 1, K, K), row =
old state, where row t of the time axis leads into row t and the first is not used; log_density (G, T, K), the log
densities of each row's observation. Axis 0 is the group, of length 1 where all groups share an array.

**Forward.** Densities of a row are divided by the largest, e = exp(log p - max log p); with the predicted law p and
the filtered law a,

.. math::
    p_t = a_{t-1} A_t, \quad s_t = \textstyle\sum_j p_{tj} e_{tj}, \quad a_t = p_t e_t / s_t, \quad
    \log p(y_t \mid y_{<t}) = \log s_t + \max \log p .

Sums of products of nonnegative numbers keep their relative accuracy, so the only error is a number too small to hold.
A part of a filtered law below 1e-200 (1e-60 in float32) is dropped; that may matter only where some later prediction
is not at least 1e-170 (1e-30): there the group starts again with logarithms, K^2 exponentials a row. So do groups with
a transition that is possible but less likely than that, and all impossible observations: from the first of these on,
the terms are -inf, with gradient 0. Numbers are float64 inside whatever their dtype outside.

Where there are several series, eight are filtered side by side (`hidden_markov_eight`), and of one series with few
states eight parts (`hidden_markov_parts`); they are held to the same bounds, and what breaks them is filtered alone.
With two to four states and one transition whose entries are all above 1e-30 nothing can be lost, and laws go on in
registers without being looked at (`hidden_markov_few`).

**Adjoint.** With cotangents g_t of the terms, the adjoint lambda_t of a_t and h_t = lambda_t + g_t - g_{t+1},

.. math::
    \overline{\log e_t} = a_t h_t, \quad \mu_t = e_t h_t / s_t, \quad \lambda_{t-1} = A_t \mu_t, \quad
    \overline{\log A_{t,ij}} = a_{t-1,i} A_{t,ij} \mu_{tj}, \quad \overline{\log \pi} = a_0 h_0 :

the inner product of lambda_t and a_t, which normalising subtracts, is g_{t+1}. With g = 1 these are the posterior law
of each state, of each pair of states in a row, and of the first state; mu is set to 0 where p is. In logarithms the
recursion goes through a_t h_t itself, by the weights a_{t-1,i} A_{t,ij} / p_{tj}, none of which exceeds 1.

Sources: Baum, Petrie, Soules and Weiss (1970), Annals of Mathematical Statistics 41, 164-171; Rabiner (1989), section
V.A, for the scaling. The adjoint is reverse mode by hand; that it is the smoother is Fisher's identity.
"""

from __future__ import annotations

from collections.abc import Sequence

from dynplat.scan.kernels.hidden_markov_backward import backward, backward_total
from dynplat.scan.kernels.hidden_markov_forward import forward, forward_total
from dynplat.scan.kernels.hidden_markov_parts import PART_ROWS, PART_STATES
from dynplat.scan.kernels.kernel import Kernel, Shape, Spec
from dynplat.scan.kernels.vector import EIGHT


def _shapes(inputs: Sequence[Shape], keep: bool) -> tuple[Shape, ...]:
    _, rows, K = inputs[2]
    groups = max(shape[0] for shape in inputs)
    kept = rows if keep else 1
    passage = (EIGHT, K, K) if keep and K <= PART_STATES and rows >= PART_ROWS else (1, 1, 1)
    return (groups, rows), (groups, kept, K), (groups, kept, K), (groups, *passage), (groups, 2)


def _shapes_of_total(inputs: Sequence[Shape], keep: bool) -> tuple[Shape, ...]:
    rows, *kept = _shapes(inputs, keep)
    return rows[:1], *kept


_INPUTS = (
    Spec("log_initial", 2, differentiable=True),
    Spec("log_transition", 4, differentiable=True),
    Spec("log_density", 3, differentiable=True),
)
_KEPT = (Spec("filtered", 3), Spec("weights", 3), Spec("passage", 4), Spec("status", 2, "count"))

HIDDEN_MARKOV = Kernel(
    name="hidden_markov",
    inputs=_INPUTS,
    outputs=(Spec("log_prob", 2), *_KEPT),
    num_values=1,
    shapes=_shapes,
    forward=forward,
    backward=backward,
    together=EIGHT,
)

#: The same for the log-likelihoods of whole series, (G,): terms of single rows are neither made nor kept.
HIDDEN_MARKOV_TOTAL = Kernel(
    name="hidden_markov_total",
    inputs=_INPUTS,
    outputs=(Spec("log_prob", 1), *_KEPT),
    num_values=1,
    shapes=_shapes_of_total,
    forward=forward_total,
    backward=backward_total,
    together=EIGHT,
)
