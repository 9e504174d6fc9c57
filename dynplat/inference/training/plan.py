"""What a training is asked for, and the rate of each of its steps."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from dynplat.errors import ArgumentError

SPLITS = ("auto", "series", "time")
PRECISIONS = ("full", "bf16")
STARTS = ("medians", "draw")

#: Options that say where or how long a training runs, and not what it computes: a resumed one may have others.
_FREE = ("checkpoint", "checkpoint_every", "resume", "max_minutes", "keep_interrupted")


class Plan(NamedTuple):
    """Options of a training. See `dynplat.inference.train.run`."""

    batch_size: int
    num_epochs: int | None
    num_steps: int | None
    window: int | None
    warm_up: int
    validation: float
    split: str
    patience: int | None
    learning_rate: float
    final_rate: float
    ramp: float
    weight_decay: float
    clip: float | None
    precision: str
    jacobian: bool
    start: str
    checkpoint: str | None
    checkpoint_every: int | None
    resume: bool
    max_minutes: float | None
    keep_interrupted: bool

    def decisive(self) -> dict[str, Any]:
        """The options that decide the numbers, by name."""
        return {name: value for name, value in self._asdict().items() if name not in _FREE}

    def progress(self, step: int, epoch: int, batch: int, num_batches: int) -> float:
        """Which share of the training is over in the middle of a step.

        Args:
            step: Steps before this one.
            epoch: Epochs before this one.
            batch: Batches of this epoch before this one.
            num_batches: Batches of this epoch.
        """
        if self.num_steps is not None:
            return (step + 0.5) / self.num_steps
        assert self.num_epochs is not None
        return (epoch + (batch + 0.5) / num_batches) / self.num_epochs

    def total(self, step: int, epoch: int, batch: int, num_batches: int) -> int:
        """How many steps there will be, early stopping aside; epochs of windows may differ by a batch or two."""
        if self.num_steps is not None:
            return self.num_steps
        assert self.num_epochs is not None
        return step + num_batches - batch + (self.num_epochs - epoch - 1) * num_batches

    def rate(self, progress: float) -> float:
        r"""Learning rate where a share of the training is over.

        It rises in proportion to `progress` up to `ramp`, and falls as half a cosine to `final_rate` times its peak:
        :math:`r (f + (1 - f) (1 + \cos \pi s) / 2)`, s the share of the rest that is over.
        """
        if progress < self.ramp:
            return self.learning_rate * progress / self.ramp
        share = min(1.0, (progress - self.ramp) / (1.0 - self.ramp))
        return self.learning_rate * (
            self.final_rate + (1.0 - self.final_rate) * 0.5 * (1.0 + math.cos(math.pi * share))
        )


def check_plan(plan: Plan) -> Plan:
    """Refuse options out of range and options that need each other; fill in the number of epochs.

    Raises:
        ArgumentError: An option is out of range, or makes no sense without, or beside, another.
    """
    for name, words in (("split", SPLITS), ("precision", PRECISIONS), ("start", STARTS)):
        if getattr(plan, name) not in words:
            raise ArgumentError(f"`{name}` must be one of {words}; got {getattr(plan, name)!r}.")
    for name in ("batch_size", "num_epochs", "num_steps", "window", "patience", "checkpoint_every"):
        value = getattr(plan, name)
        if value is not None and value < 1:
            raise ArgumentError(f"`{name}` must be at least 1; got {value}.")
    for name in ("learning_rate", "clip", "max_minutes"):
        value = getattr(plan, name)
        if value is not None and not 0 < value < math.inf:
            raise ArgumentError(f"`{name}` must be a positive number; got {value}.")
    for name, low, high in (("validation", 0.0, 1.0), ("ramp", 0.0, 1.0), ("weight_decay", 0.0, math.inf)):
        value = getattr(plan, name)
        if not low <= value < high:
            raise ArgumentError(f"`{name}` must lie from {low:g} to below {high:g}; got {value}.")
    if not 0 < plan.final_rate <= 1:
        raise ArgumentError(f"`final_rate` must lie above 0 and be at most 1; got {plan.final_rate}.")
    if plan.warm_up < 0:
        raise ArgumentError(f"`warm_up` must be 0 or more rows; got {plan.warm_up}.")
    _check_together(plan)
    return plan if plan.num_epochs is not None or plan.num_steps is not None else plan._replace(num_epochs=100)


def _check_together(plan: Plan) -> None:
    if plan.num_epochs is not None and plan.num_steps is not None:
        raise ArgumentError(
            f"`num_epochs` ({plan.num_epochs}) and `num_steps` ({plan.num_steps}) both say when to end: give one."
        )
    if plan.warm_up and plan.window is None:
        raise ArgumentError(
            f"`warm_up` ({plan.warm_up}) counts the rows before a window: give `window`, or leave it out."
        )
    for name in ("checkpoint_every", "resume"):
        if getattr(plan, name) and plan.checkpoint is None:
            raise ArgumentError(f"`{name}` needs `checkpoint`, the file to write and to read.")
