"""Inference: the two languages in which a prior runs, and the loops.

The loops are found by name through their records (`dynplat.inference.entries.ENTRIES`) or imported from the modules
named after them: `mle`, `map`, `laplace`, `svi`, `nuts`, `train`, `solve`, each with a function
`run(model, data, *, seed, ...)` that returns a `Posterior`. Importing this package loads neither torch nor JAX.
"""

from dynplat.inference.asymptotic import draw_asymptotic
from dynplat.inference.diagnostics import InferenceWarning
from dynplat.inference.entries import ENTRIES
from dynplat.inference.joint import joint_program, log_joint
from dynplat.inference.prior import sample_prior

__all__ = ["ENTRIES", "InferenceWarning", "draw_asymptotic", "joint_program", "log_joint", "sample_prior"]
