r"""What a training maximises: log prior plus the log likelihood of a batch, as a function of the weights.

A weight is a site on the unconstrained scale. Point-estimated sites are taken as they are; random ones in units of
their prior, :math:`z = (u - m) / s` as in `dynplat.inference.mode`, so that one learning rate serves a level of 300 ppm
and a variance of 1e-4.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from dynplat.arrays import Observations, random_source
from dynplat.errors import InferenceError, NoDensityError
from dynplat.inference.dialect import AbstractDialect, Point
from dynplat.inference.fitting import Fit
from dynplat.inference.mode import NUM_PRIOR_DRAWS, prior_units
from dynplat.inference.training.items import Items, batches, take
from dynplat.process.base import AbstractProcess

#: Numbers in the draws of the prior from which start and units are taken: a network with a prior has many sites.
_MAX_NUMBERS = 20_000_000


class Target:
    """Log prior and log likelihood of a fit at given weights.

    Args:
        fit: The fit, under torch.
        jacobian: Whether the density is that of the unconstrained sites.
        start: `medians` of the prior, or a `draw` of it; point-estimated sites start at their initial values.

    Attributes:
        observed: Number of observed cells of each row, (series, time).
        matrices: Point-estimated sites of two dimensions or more: what weight decay acts on.
        composite: Whether the terms are those of a composite likelihood, for want of a likelihood.
    """

    def __init__(self, fit: Fit, *, jacobian: bool, start: str) -> None:
        assert fit.density is not None
        self.fit, self.density, self.jacobian = fit, fit.density, jacobian
        self.observed = np.asarray(fit.observations.mask).sum(axis=-1)
        self.composite = not fit.model.capabilities.likelihood
        infos = self.density.infos
        point_estimated = [name for name in self.density.layout.shapes if infos[name].kind == "param"]
        self.matrices = frozenset(name for name in point_estimated if len(infos[name].core_shape) >= 2)
        units = self._units(all_point_estimated=len(point_estimated) == len(self.density.layout.shapes))
        begin = units.origin if start == "medians" or not len(units.draws) else units.draws[0]
        origin, unit = units.origin.copy(), units.unit.copy()
        for name in point_estimated:
            origin[self.density.layout.slices[name]], unit[self.density.layout.slices[name]] = 0.0, 1.0
        self._begin = (begin - origin) / unit
        self._origin = self.density.layout.split(self.tensor(origin))
        self._unit = self.density.layout.split(self.tensor(unit))

    def _units(self, *, all_point_estimated: bool) -> Any:
        size = self.density.layout.size
        num_draws = 1 if all_point_estimated else int(np.clip(_MAX_NUMBERS // size, 5, NUM_PRIOR_DRAWS))
        return prior_units(self.density, self.fit.seed, num_draws)

    def tensor(self, value: Any) -> torch.Tensor:
        """A tensor of the fit's dtype and device."""
        return self.density.to_array(np.asarray(value))

    def start_of_sum(self) -> torch.Tensor:
        """A zero of the fit's dtype and device."""
        return self.tensor(0.0)

    def start(self) -> dict[str, torch.Tensor]:
        """The weights at the start, by site."""
        return {name: part.clone() for name, part in self.density.layout.split(self.tensor(self._begin)).items()}

    def vector(self, weights: dict[str, torch.Tensor]) -> np.ndarray:
        """The unconstrained sites of weights as a vector (size,)."""
        sites = {name: value.detach().cpu().numpy() for name, value in self._unconstrained(weights).items()}
        return self.density.layout.join(sites)

    def dialect(self, weights: dict[str, torch.Tensor]) -> AbstractDialect:
        """The prior, run at weights."""
        return self.density.run_prior(Point(self._unconstrained(weights), unconstrained=True))

    def loss(
        self, weights: dict[str, torch.Tensor], items: Items, num_batches: int, cells: int, *, prior: bool
    ) -> torch.Tensor:
        """Minus an unbiased estimate of the log density, per observed value; NaN where the law has no density.

        Args:
            weights: The weights.
            items: A batch, or this process's part of it.
            num_batches: Batches of the epoch.
            cells: Observed values to learn from.
            prior: Whether the prior counts here; it does in one process.
        """
        dialect = self.dialect(weights)
        # A process without a part of the batch has a gradient too: 0.
        total = 0.0 * torch.stack([value.sum() for value in weights.values()]).sum()
        if prior:
            total = total + dialect.log_prior + (dialect.log_jacobian if self.jacobian else 0.0)
        if items.size:
            try:
                total = total + num_batches * self.log_likelihood(dialect, items)
            except NoDensityError:
                total = total * float("nan")
        return -total / cells

    def log_likelihood(self, dialect: AbstractDialect, items: Items) -> torch.Tensor:
        """Log likelihood, or a composite one, of the rows of items that count."""
        batch = take(self.fit.observations, items)
        process = self._process(dialect, items)
        if batch.whole and not self.composite:
            return process.log_prob(batch.observations).sum()
        steps = self._steps(process, batch.observations, by_chance=True)
        counts = torch.as_tensor(batch.counts, device=steps.device)
        return torch.where(counts, steps, torch.zeros_like(steps)).sum()

    @torch.no_grad()
    def terms(self, dialect: AbstractDialect, items: Items) -> np.ndarray:
        """Terms of the likelihood (or the composite one) of items, (item, row), 0 in rows that do not count."""
        batch = take(self.fit.observations, items)
        steps = self._steps(self._process(dialect, items), batch.observations, by_chance=False)
        return np.where(batch.counts, steps.cpu().numpy(), 0.0)

    def all_terms(self, weights: dict[str, torch.Tensor], batch_size: int) -> np.ndarray:
        """Terms of the likelihood of all data, (series, time): every series from its first row."""
        found = np.zeros(self.observed.shape)
        lengths = np.asarray(self.fit.data.lengths)
        first = np.zeros_like(lengths)
        items = Items(np.arange(len(lengths)), first, first, lengths)
        with torch.no_grad():
            dialect = self.dialect(weights)
        for index in batches(items, batch_size):
            terms = self.terms(dialect, items.pick(index))
            found[index, : terms.shape[1]] = terms
        return found

    def explain(self, weights: dict[str, torch.Tensor], items: Items, place: str, data: Any) -> InferenceError:
        """Say where the loss of a batch, or its gradient, is no finite number.

        Returns:
            The error to raise.
        """
        name = self.fit.model.entry.id
        advice = (
            "Lower `learning_rate` or `clip`, give another `start` or seed, or look at the data there. A checkpoint "
            "that was written before is left as it was."
        )
        labels = [str(data.series[index]) for index in items.series]
        shown = ", ".join(map(repr, labels[:8])) + (", ..." if len(labels) > 8 else "")
        where = f"train: the loss of {name} is not finite {place}, of series {shown}"
        try:
            terms = self.terms(self.dialect(weights), items)
        except NoDensityError as error:
            return InferenceError(f"{where}: {error} {advice}")
        bad = np.argwhere(~np.isfinite(terms))
        if len(bad):
            item, row = (int(i) for i in bad[0])
            first, begin, stop = (int(rows[item]) for rows in (items.first, items.begin, items.stop))
            return InferenceError(
                f"{where}: the first term that is not finite ({terms[item, row]}) is at series {labels[item]!r}, row "
                f"{first + row}, in the window of rows {begin} to {stop - 1} (from 0). {advice}"
            )
        sites = [
            site for site, weight in weights.items() if weight.grad is not None and not weight.grad.isfinite().all()
        ]
        what = f"the gradient with respect to {', '.join(sites[:4])}" if sites else "the prior"
        return InferenceError(f"{where}: its terms are finite, and {what} is not. {advice}")

    def _steps(self, process: AbstractProcess, observations: Observations, *, by_chance: bool) -> torch.Tensor:
        if not self.composite:
            return process.log_prob_steps(observations)
        # The generator has the seed of the step: what a step hides does not depend on how the training got there.
        random = random_source(int(torch.randint(2**31, ())), self.start_of_sum()) if by_chance else None
        return process.composite_steps(observations, random=random)

    def _unconstrained(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: self._origin[name] + self._unit[name] * value for name, value in weights.items()}

    def _process(self, dialect: AbstractDialect, items: Items) -> AbstractProcess:
        """The process of the series of items, one for each item."""
        chosen = torch.as_tensor(items.series, device=self._unit[next(iter(self._unit))].device)
        sites = {name: value[chosen] if dialect.infos[name].local else value for name, value in dialect.sites.items()}
        static = {name: values[items.series] for name, values in self.fit.context.static.items()}
        context = replace(self.fit.context, num_series=items.size, static=static)
        return self.fit.model.process(sites, context)
