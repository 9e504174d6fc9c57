r"""The loop of a training, under torch.

With C the number of observed values to learn from, an epoch of B batches, and S_b the log likelihood of batch b, a step
follows the gradient of

.. math:: -(B S_b + \log p(\theta)) / C,

whose mean over the batches of an epoch is the loss of the whole data: that of `map`, per observed value. Every step
seeds the generators anew from the seed and its own number, and every epoch is cut from the seed and its number, so that
a training that is taken up again goes on as if it had never stopped.
"""

from __future__ import annotations

import math
import random
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynplat.errors import ArgumentError, InferenceError
from dynplat.inference.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from dynplat.inference.training.distributed import Ranks
from dynplat.inference.training.items import Items, Split, batches, num_observed, padding, windows
from dynplat.inference.training.plan import Plan
from dynplat.inference.training.target.torch import Target
from dynplat.precision import mixed_precision

#: Steps between two words to the observers, beside those at the end of each epoch.
_CHUNK = 20

#: Tells the cuts of epochs, the noise of steps and that of validation apart.
_CUTS, _STEPS, _VALIDATION = 0, 1, 2


@dataclass
class State:
    """Where a training stands, tensors aside.

    Args:
        epoch: Epochs that are over.
        batch: Batches of the present one that are over.
        step: Steps that are over.
        sums: Sums over the steps of the present epoch: `training` (the loss), `gradient_norm`.
        best: Smallest loss of validation so far.
        best_epoch: Epochs that were over when the weights that count were taken.
        waited: Epochs since the loss of validation fell.
        history: Figures of each epoch, by name.
        ended: Why the training is over, or an empty string.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=lambda: {"training": 0.0, "gradient_norm": 0.0})
    best: float | None = None
    best_epoch: int = 0
    waited: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    ended: str = ""


class Loop:
    """A training under way.

    Args:
        target: What is maximised.
        plan: The options.
        split: Rows to learn from and to be judged by.
        ranks: This process and its fellows.
        identity: What a checkpoint must agree with.

    Attributes:
        state: Where it stands.
        kept: The weights that count: of the best epoch, or of the last where nothing validates.
    """

    def __init__(self, target: Target, plan: Plan, split: Split, ranks: Ranks, identity: dict[str, Any]) -> None:
        self.target, self.plan, self.split, self.ranks, self.identity = target, plan, split, ranks, identity
        self.state = State()
        self.kept: dict[str, torch.Tensor] = {}
        self.cells = num_observed(split.training, target.observed)
        self.weights = {name: ranks.spread(value).requires_grad_(True) for name, value in target.start().items()}
        self.optimiser = _optimiser(self.weights, target.matrices, plan)
        self.validation = self._cut(split.validation)
        self.began = time.monotonic()
        if plan.resume and plan.checkpoint is not None and Path(plan.checkpoint).exists():
            self._restore(read_checkpoint(plan.checkpoint, identity))
        self.steps_before = self.state.step

    def run(self) -> None:
        """Train until the plan, the patience or the time is at its end."""
        state, plan = self.state, self.plan
        precise = mixed_precision() if plan.precision == "bf16" else nullcontext([1])
        with precise as networks:
            while not state.ended:
                self._epoch(networks)
        if state.ended == "time" and not self.kept:
            self.kept = _copies(self.weights)

    def _epoch(self, networks: list[int]) -> None:
        state, plan = self.state, self.plan
        rng = np.random.default_rng([self.target.fit.seed, _CUTS, state.epoch])
        items = self.split.training
        if plan.window is not None:
            items = windows(items, self.target.observed, plan.window, plan.warm_up, rng)
        cut = batches(items, plan.batch_size, rng)
        while state.batch < len(cut):
            place = (state.step, state.epoch, state.batch, len(cut))
            rate = plan.rate(plan.progress(*place))
            out_of_time = self._step(items.pick(cut[state.batch]), len(cut), rate)
            if not networks[0]:
                raise ArgumentError(
                    f"`precision` 'bf16' has nothing to act on: {self.target.fit.model.entry.id} runs no network "
                    "through what `pp.module` returns, nor inside `dynplat.precision.network_precision`. Leave it out."
                )
            state.batch += 1
            state.step += 1
            if state.batch % _CHUNK == 0:
                self._tell(place, rate)
            if state.batch == len(cut) or state.step == plan.num_steps:
                self._tell(place, rate)
                self._end_epoch(rate, padding(items, cut))
                return
            if out_of_time:
                self._end_for_time()
                return
            if plan.checkpoint_every is not None and state.step % plan.checkpoint_every == 0:
                self.write()

    def _step(self, items: Items, num_batches: int, rate: float) -> bool:
        """One step; returns whether the time is up."""
        state, plan, fit = self.state, self.plan, self.target.fit
        self._seed(_STEPS, state.step)
        share = items.pick(self.ranks.share(np.arange(items.size)))
        loss = self.target.loss(self.weights, share, num_batches, self.cells, prior=self.ranks.rank == 0)
        leaves = list(self.weights.values())
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        gradients = [torch.zeros_like(w) if g is None else g for w, g in zip(leaves, gradients, strict=True)]
        late = plan.max_minutes is not None and time.monotonic() - self.began > 60.0 * plan.max_minutes
        flag = loss.detach().new_full((1,), float(late and self.ranks.rank == 0))
        whole = self.ranks.add(torch.cat([loss.detach()[None], flag, *(g.reshape(-1) for g in gradients)]))
        for weight, gradient in zip(leaves, whole[2:].split([w.numel() for w in leaves]), strict=True):
            weight.grad = gradient.reshape(weight.shape)
        norm = torch.nn.utils.clip_grad_norm_(leaves, math.inf if plan.clip is None else plan.clip)
        figures = torch.stack([whole[0], norm, whole[1]]).tolist()
        if not all(map(math.isfinite, figures)):
            place = f"in epoch {state.epoch + 1}, batch {state.batch + 1} of {num_batches} (step {state.step + 1})"
            raise self.target.explain(self.weights, items, place, fit.data)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        state.sums["training"] += figures[0]
        state.sums["gradient_norm"] += figures[1]
        return bool(figures[2])

    def _end_epoch(self, rate: float, padded: float) -> None:
        state, plan = self.state, self.plan
        figures = {name: value / state.batch for name, value in state.sums.items()}
        figures |= {"rate": rate, "padding": padded}
        state.epoch, state.batch, state.sums = state.epoch + 1, 0, State().sums
        if self.split.validation.size:
            figures["validation"] = self._validate()
        better = "validation" not in figures or state.best is None or figures["validation"] < state.best
        if better:
            self.kept = _copies(self.weights)
            state.best, state.best_epoch, state.waited = figures.get("validation"), state.epoch, 0
        else:
            state.waited += 1
        for name, value in figures.items():
            state.history.setdefault(name, []).append(value)
        if plan.patience is not None and state.waited >= plan.patience:
            state.ended = "patience"
        elif state.epoch == plan.num_epochs:
            state.ended = "epochs"
        elif state.step == plan.num_steps:
            state.ended = "steps"
        self.write()

    def _end_for_time(self) -> None:
        # On file the training goes on: it may be taken up again.
        self.write()
        self.state.ended = "time"

    @torch.no_grad()
    def _validate(self) -> float:
        """Minus the log likelihood of the rows that were held back, per observed value."""
        self._seed(_VALIDATION, 0)
        total = self.target.start_of_sum()
        dialect = self.target.dialect(self.weights)
        items, cut = self.validation
        for index in cut:
            share = items.pick(self.ranks.share(index))
            if share.size:
                total += self.target.log_likelihood(dialect, share)
        value = float(self.ranks.add(total)) / -num_observed(self.split.validation, self.target.observed)
        if not math.isfinite(value):
            raise InferenceError(
                f"train: the loss of validation of {self.target.fit.model.entry.id} is {value} after epoch "
                f"{self.state.epoch}, although that of training is finite. Lower `learning_rate`, or see whether the "
                "series that were held back have values unlike all others."
            )
        return value

    def _cut(self, items: Items) -> tuple[Items, list[np.ndarray]]:
        if self.plan.window is not None and items.size:
            items = windows(items, self.target.observed, self.plan.window, self.plan.warm_up)
        return items, batches(items, self.plan.batch_size) if items.size else []

    def _seed(self, *numbers: int) -> None:
        words = np.random.SeedSequence([self.target.fit.seed, *numbers, self.ranks.rank])
        _reseed(int(words.generate_state(1)[0]), self.target.start_of_sum().device)

    def _tell(self, place: tuple[int, int, int, int], rate: float) -> None:
        state = self.state
        total = self.plan.total(*place)
        took = (time.monotonic() - self.began) / max(1, state.step - self.steps_before)
        info: dict[str, Any] = {
            "loss": state.sums["training"] / max(1, state.batch),
            "epoch": state.epoch + 1,
            "rate": rate,
            "seconds_left": took * (total - state.step),
        }
        if state.history.get("validation"):
            info["validation"] = state.history["validation"][-1]
        self.target.fit.watch.step(state.step, total, info)

    # Checkpoints.

    def write(self) -> None:
        """Write a checkpoint, where one is wanted, from process 0."""
        if self.plan.checkpoint is None or self.ranks.rank:
            return
        arrays = {f"weight/{name}": value for name, value in self.weights.items()}
        arrays |= {f"kept/{name}": value for name, value in self.kept.items()}
        for name, weight in self.weights.items():
            for kind, value in self.optimiser.state[weight].items():
                arrays[f"{kind}/{name}"] = value
        state = asdict(self.state)
        held = {name: value.detach().cpu().numpy() for name, value in arrays.items()}
        write_checkpoint(self.plan.checkpoint, Checkpoint(self.identity, state, held))

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.state = State(**checkpoint.state)

        def arrays(kind: str) -> dict[str, torch.Tensor]:
            start = f"{kind}/"
            return {
                name.removeprefix(start): self.target.tensor(value)
                for name, value in checkpoint.arrays.items()
                if name.startswith(start)
            }

        self.kept = arrays("kept")
        with torch.no_grad():
            for name, value in arrays("weight").items():
                self.weights[name].copy_(value)
        for kind in ("step", "exp_avg", "exp_avg_sq"):
            for name, value in arrays(kind).items():
                # The count of steps stays on the host, as the optimiser has it.
                self.optimiser.state[self.weights[name]][kind] = value.cpu() if kind == "step" else value


def _optimiser(weights: dict[str, torch.Tensor], matrices: frozenset[str], plan: Plan) -> torch.optim.AdamW:
    groups = [
        {"params": [w for name, w in weights.items() if name in matrices], "weight_decay": plan.weight_decay},
        {"params": [w for name, w in weights.items() if name not in matrices], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=plan.learning_rate)


def _reseed(seed: int, device: torch.device) -> None:
    """Seed what `pyro.set_rng_seed` seeds, of the fit's device alone: for others torch formats a stack at each call."""
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _copies(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in weights.items()}
