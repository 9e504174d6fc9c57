r"""Training by minibatches: the mode of the posterior density for networks, many series and long ones.

What is maximised is what `map` maximises, :math:`\log p(\theta) + \sum_s \log p(y_s \mid \theta)`, with the weights of
networks and other point-estimated sites counting 0 in the first term. Each step sees a few series, or windows of long
ones, and follows an unbiased estimate of the gradient by AdamW (Loshchilov and Hutter 2019). Rows that are held back
say when to stop, and which weights to keep: with them the result is no mode any more, which is what one wants of a
network that could learn its data by heart.

A model without a likelihood may have a composite one (`AbstractProcess.composite_steps`): then its terms are what is
maximised, with what is given to each value drawn anew in each step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.errors import ArgumentError, CapabilityError
from dynplat.inference.diagnostics import warn
from dynplat.inference.fitting import Fit, opened
from dynplat.inference.training.checkpoint import check_place
from dynplat.inference.training.items import Split, split_rows
from dynplat.inference.training.plan import Plan, check_plan

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.inference.training.torch import Loop, State
    from dynplat.model import AbstractModel
    from dynplat.observer import Observer
    from dynplat.posterior import Posterior

#: Fall of the loss, in nats per observed value over the last fifth of the epochs, beyond which it still falls.
_STILL_FALLING = 2e-3


def run(
    model: AbstractModel,
    data: Trajectories | Snapshots,
    *,
    seed: int,
    language: str | None = None,
    observers: Iterable[Observer] = (),
    device: str = "cpu",
    dtype: str = "float64",
    batch_size: int = 32,
    num_epochs: int | None = None,
    num_steps: int | None = None,
    window: int | None = None,
    warm_up: int = 0,
    validation: float = 0.1,
    split: str = "auto",
    patience: int | None = 20,
    learning_rate: float = 3e-3,
    final_rate: float = 0.01,
    ramp: float = 0.05,
    weight_decay: float = 0.01,
    clip: float | None = 1.0,
    precision: str = "full",
    jacobian: bool = True,
    start: str = "medians",
    checkpoint: str | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    max_minutes: float | None = None,
    keep_interrupted: bool = False,
) -> Posterior:
    """Maximise the posterior density by minibatches.

    Args:
        model: The model.
        data: The data.
        seed: Determines the start, what is held back, the batches, and whatever is random in the model's likelihood.
        language: `pyro`, the one language it runs in; None is the same.
        observers: Told every few steps and at the end of each epoch: `loss`, `validation`, `rate`, `seconds_left`.
        device: Device of the arrays. Under `torchrun`, `cuda` is the GPU of each process.
        dtype: `float64` or `float32`.
        batch_size: Series, or windows, per step.
        num_epochs: Passes over the data; 100 when neither this nor `num_steps` is given.
        num_steps: Steps, instead of epochs.
        window: Rows that count in one item: long series are cut into windows, at random places anew in each epoch. The
            law starts anew in each.
        warm_up: Rows before a window that are read and do not count, so that the law forgets where it started.
        validation: Share that is held back, below 1: of the series, or of the last rows of each; 0 for none. What the
            model computes from its data before a fit (`prepare`) does not see it either.
        split: What is held back: `series`, `time` (the last rows of each series), or `auto`: series where the share
            comes to one at least and no series has parameters of its own.
        patience: Epochs without a smaller loss of validation after which training ends; None goes on to the end. The
            weights of the best epoch count in either case.
        learning_rate: Largest rate of AdamW.
        final_rate: Rate at the end relative to the largest; the rate falls as half a cosine.
        ramp: Share of the training over which the rate rises from 0.
        weight_decay: Decay of AdamW, of the point-estimated sites with two dimensions or more.
        clip: Largest norm of a gradient of the loss per observed value; None clips nothing.
        precision: `full`, or `bf16`: networks compute in bfloat16, all else in float32.
        jacobian: As in `map`: True for the density on the unconstrained scale.
        start: Where random sites start: `medians` of the prior, or a `draw` of it. Point-estimated ones start at their
            initial values.
        checkpoint: File in which the training is kept, at the end of each epoch.
        checkpoint_every: Steps between two checkpoints within an epoch.
        resume: Whether to go on from `checkpoint` where it is there; the result is that of an uninterrupted training.
        max_minutes: Time after which this run ends, with the best so far, a warning, and a checkpoint.
        keep_interrupted: Whether Ctrl-C ends the fit with the best so far and a warning; by default it is raised.

    Returns:
        A posterior of one draw; `extra` in its provenance holds `history` (`training`, `validation`, `gradient_norm`,
        `rate`, `padding` of each epoch), `best_epoch`, `stopped`, `log_prior`, and `log_likelihood` or, of a model
        without one, `composite_log_likelihood`: every value given all others.

    Raises:
        ArgumentError: An option is out of range, a checkpoint is there and `resume` is False, or it is of another
            training.
        CapabilityError: The model lacks a likelihood (or a composite one), gradients, or Pyro.
        InferenceError: The loss is no finite number; the message names epoch, batch, series and rows.
        StorageError: The checkpoint cannot be read or written.
    """
    given = locals()
    plan = check_plan(Plan(**{name: given[name] for name in Plan._fields}))
    _check_request(model, data, plan, language, dtype)
    from dynplat.inference.training.distributed import joined

    ranks = joined(device)
    if keep_interrupted and ranks.size > 1:
        raise ArgumentError(
            "`keep_interrupted` works in one process; under `torchrun` interrupt, and take the training up again from "
            "`checkpoint` with `resume=True`."
        )
    with opened(
        "train",
        model,
        data,
        seed=seed,
        language="pyro",
        observers=observers if ranks.rank == 0 else (),
        device=device,
        dtype=dtype,
        options=plan._asdict(),
    ) as fit:
        from dynplat.inference.training.target.torch import Target
        from dynplat.inference.training.torch import Loop

        assert fit.density is not None
        local = any(info.local for info in fit.density.infos.values())
        observed = np.asarray(fit.observations.mask).sum(axis=-1)
        held = split_rows(observed, np.asarray(fit.data.lengths), validation, split, local=local, seed=fit.seed)
        _hold_back(fit, held)
        target = Target(fit, jacobian=plan.jacobian, start=plan.start)
        loop = Loop(target, plan, held, ranks, _identity(fit, plan))
        try:
            loop.run()
        except KeyboardInterrupt:
            if not plan.keep_interrupted or not loop.kept:
                raise
            loop.state.ended = "interrupted"
        return _finish(fit, plan, loop)


def _hold_back(fit: Fit, held: Split) -> None:
    """Compute the constants anew from the cells to learn from: a scale that has seen the others would judge itself."""
    assert fit.density is not None
    if not held.validation.size:
        return
    hidden = held.validation.rows(fit.observations.mask.shape[:2])
    fit.context = fit.model.prepare(fit.data.hide(np.broadcast_to(hidden[..., None], fit.observations.mask.shape)))
    make = type(fit.density)
    fit.density = make(fit.model, fit.context, fit.observations, fit.density.to_array, seed=fit.seed)


def _check_request(
    model: AbstractModel, data: Trajectories | Snapshots, plan: Plan, language: str | None, dtype: str
) -> None:
    from dynplat.data import Snapshots

    if isinstance(data, Snapshots):
        raise CapabilityError(
            "inference 'train' learns from batches of series, and snapshots are one population. Use 'solve', 'map' or "
            "'svi'."
        )
    if language not in (None, "pyro"):
        raise ArgumentError(f"`language` of inference 'train' must be 'pyro', the one it runs in; got {language!r}.")
    claims = model.capabilities
    if claims.languages and "pyro" not in claims.languages:
        raise CapabilityError(
            f"inference 'train' runs under Pyro, and {model.entry.id} runs under {' and '.join(claims.languages)} "
            "only. Use 'map' or 'svi', or a model that declares 'pyro'."
        )
    if plan.precision == "bf16" and dtype != "float32":
        raise ArgumentError(
            f"`precision` 'bf16' needs `dtype='float32'`: float64 is never computed in bfloat16; got {dtype!r}."
        )
    if plan.checkpoint is not None:
        check_place(plan.checkpoint, resume=plan.resume)


def _identity(fit: Fit, plan: Plan) -> dict[str, Any]:
    """What a checkpoint must agree with, as JSON holds it."""
    assert fit.density is not None
    return {
        "model": fit.model.entry.id,
        "model options": {name: _plain(value) for name, value in fit.model.options.items()},
        "data": fit.data.fingerprint(),
        "seed": fit.seed,
        "dtype": fit.dtype,
        "sites": {name: list(shape) for name, shape in fit.density.layout.shapes.items()},
        **plan.decisive(),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | bool | int | float) else repr(value)


def _finish(fit: Fit, plan: Plan, loop: Loop) -> Posterior:
    density, state, split = fit.density, loop.state, loop.split
    assert density is not None
    _notes(fit, plan, loop)
    vector = loop.target.vector(loop.kept)
    sites, log_prior, log_jacobian = density.evaluate(vector[None])
    terms = loop.target.all_terms(loop.kept, plan.batch_size)
    name = "composite_log_likelihood" if loop.target.composite else "log_likelihood"
    total = float(terms.sum())
    objective = total + float(log_prior[0]) + (float(log_jacobian[0]) if plan.jacobian else 0.0)
    return fit.finish(
        sites,
        density.infos,
        sample_stats={"lp": np.array([[objective]])},
        log_likelihood=terms[None] if not loop.target.composite and fit.keeps_terms(1) else None,
        extra={
            name: total,
            "log_prior": float(log_prior[0]),
            "objective": objective,
            "converged": _converged(state),
            "stopped": state.ended,
            "steps": state.step,
            "epochs": state.epoch,
            "best_epoch": state.best_epoch,
            "validation_loss": state.best,
            "split": split.kind,
            "history": state.history,
            "num_parameters": density.layout.size,
            "num_processes": loop.ranks.size,
        },
    )


def _notes(fit: Fit, plan: Plan, loop: Loop) -> None:
    state = loop.state
    if plan.window is not None and (np.asarray(loop.split.training.stop) > plan.window).any():
        fit.notes.append(
            f"train: series were cut into windows of {plan.window} rows, in each of which the law starts anew"
            + (f" {plan.warm_up} rows before those that count" if plan.warm_up else "")
            + ": an approximation where what lies before matters for longer than that."
        )
    if state.ended in ("time", "interrupted"):
        reason = "interrupted" if state.ended == "interrupted" else f"out of time ({plan.max_minutes:g} minutes)"
        kept = f"those of epoch {state.best_epoch}" if state.best_epoch else "those of its last step"
        again = (
            "Give the same call `resume=True` to go on."
            if plan.checkpoint
            else "Name a `checkpoint` to be able to go on."
        )
        warn(f"train: {reason} after {state.step} steps; the weights are {kept}. {again}", fit.notes)
    elif not _converged(state):
        which = "validation" if "validation" in state.history else "training"
        what = f"the loss of {which} still fell by {_fall(state):.2g} per observed value over the last of"
        if state.epoch < 2:
            what = "nobody can say whether the loss still falls after"
        fit.notes.append(
            f"train: {what} {state.epoch} epochs. Raise `num_epochs` (or `num_steps`), or `learning_rate`."
        )


def _converged(state: State) -> bool:
    return state.ended == "patience" or (state.ended in ("epochs", "steps") and _fall(state) < _STILL_FALLING)


def _fall(state: State) -> float:
    """Fall of the loss that decides, in nats per observed value, over the last fifth of the epochs (one at least)."""
    losses = state.history.get("validation", state.history.get("training", []))
    last = max(1, len(losses) // 5)
    return min(losses[:-last]) - min(losses[-last:]) if len(losses) > 1 else np.inf
