r"""Compiled Kalman filter of linear-Gaussian chains and its adjoint.

.. math::
    x_t = F_t x_{t-1} + c_t + N(0, Q_t), \qquad y_t = H_t x_t + N(0, R_t), \qquad x_0 \sim N(m_0, P_0)

with element-wise missing cells. Arrays stand in *groups* and *members*: the members of a group share all covariances
and the pattern of their holes, so that the covariance recursion runs once per group. Axis 0 of every array is the group
(of length 1 where all groups share it), a time axis has length T, or 1 for what does not change, and members stand
last, so that the innermost loops run over them:

F, Q (G, T, n, n); H (G, T, p, n); R (G, T, p, p); m0 (G, n, M); P0 (G, n, n); c (G, T, n, M); y (G, T, p, M);
mask (G, T, p), 1 = observed; lengths (G, M): a member ends after so many rows, whatever the mask says of later ones.

**Forward.** The update is Joseph's form, (I - K H) P (I - K H)^T + K R K^T, as in `dynplat.semigroup.kalman`: no
inverse of Q, R or P appears, and the error is of second order in that of the gain. A quick test compares every pivot of
the innovation covariance with the rounding that may have reached it; where the pivot is not far above, the group runs
again with the rounding of `kalman` carried along exactly, which decides whether the law has a density. A row whose
innovation covariance is singular gets NaN.

**Steady state.** With nothing that changes in time the covariances converge. They stand still once three rows in a row
change by less than four roundings and rounding itself, propagated by the closed loop, stays below 4096 roundings; from
then on a row costs O(n^2).

**Adjoint.** With A = I - K H, the adjoint lambda of the filtered mean and the symmetric adjoint Lambda of the filtered
covariance, a row's cotangent g, u = S^{-1} v and

.. math::
    \bar y = K^\top \lambda - g u, \quad Z = K^\top \Lambda K - \mathrm{sym}(K^\top \lambda u^\top) - \tfrac12 g
    (S^{-1} - u u^\top),

the adjoints before the update are lambda - H^T ybar and A^T Lambda A + sym(A^T lambda u^T H) - H^T (g (S^{-1} - u u^T)
/ 2) H, those of the parameters Rbar = Z, Hbar = -ybar m^T + (lambda u^T - 2 Lambda K)^T P - g K^T, cbar = lambda^-,
Qbar = Lambda^-, Fbar = lambda^- m_{t-1}^T + 2 Lambda^- F P_{t-1}: the derivative of K drops out because K minimises
Joseph's form. Lambda is linear in its sources, so one recursion serves the sum over the members of a group. In steady
state the sum of Lambda^- over time solves X = A^T F^T (X - Lambda^-_first) F A + sources, which doubling solves, and
only the rows whose adjoint still reaches the first steady row run the matrix recursion.

Sources: Bucy and Joseph (1968); the adjoint is reverse mode worked out by hand from the equations above, compare de
Jong (1988), Biometrika 75, 594-600, for the case of the disturbance smoother.
"""

from __future__ import annotations

from collections.abc import Sequence

from dynplat.scan.kernels.kalman_backward import backward
from dynplat.scan.kernels.kalman_forward import forward
from dynplat.scan.kernels.kernel import Kernel, Shape, Spec


def _shapes(inputs: Sequence[Shape], keep: bool) -> tuple[Shape, ...]:
    n, p = inputs[0][-1], inputs[2][-2]
    _, rows, _, members = inputs[7]
    groups = max(shape[0] for shape in inputs[:10])
    kept = rows if keep else 1
    return (
        (groups, rows, members),
        (groups, kept, n, members),
        (groups, kept, p, members),
        (groups, kept, n, n),
        (groups, kept, p, n),
        (groups, kept, p, p),
        (groups, 2),
    )


KALMAN = Kernel(
    name="kalman",
    inputs=(
        Spec("F", 4, differentiable=True),
        Spec("Q", 4, differentiable=True),
        Spec("H", 4, differentiable=True),
        Spec("R", 4, differentiable=True),
        Spec("m0", 3, differentiable=True),
        Spec("P0", 3, differentiable=True),
        Spec("c", 4, differentiable=True),
        Spec("y", 4, differentiable=True),
        Spec("mask", 3, "flag"),
        Spec("lengths", 2, "count"),
        Spec("options", 2, "count"),
    ),
    outputs=(
        Spec("log_prob", 3),
        Spec("means", 4),
        Spec("weights", 4),
        Spec("covs", 4),
        Spec("gains", 4),
        Spec("factors", 4),
        Spec("status", 2, "count"),
    ),
    num_values=1,
    shapes=_shapes,
    forward=forward,
    backward=backward,
)
