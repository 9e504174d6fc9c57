r"""Rate structures: which jumps a chain can make, and how its generator is built from free parameters.

A structure of K states has *links*, ordered pairs (old, new). Rates that stand at links fill the generator; its
diagonal is minus the sum of the row:

.. math:: q_{ij} = \text{rate of the link } i \to j, \qquad q_{ii} = -\sum_{j \ne i} q_{ij} .

| name | links |
|---|---|
| `free` | every pair |
| `birth-death` | to the neighbours |
| `banded:width=w` | to states at most w away |
| `progressive` | from each state to the next |
| `progressive:absorbing` | the same, and from each state to the last |
| `reversible` | every pair, in detailed balance |
| `1-2,2-1,2-3` | those named, from and to, in the data's own labels |

`reversible` has a stationary law pi and exchange rates s of unordered pairs, :math:`q_{ij} = s_{ij} \pi_j`, so that
:math:`\pi_i q_{ij} = \pi_j q_{ji}` holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.errors import ArgumentError

_LINK = re.compile(r"^\s*(\d+)\s*-\s*(\d+)\s*$")
_KNOWN = (
    "free, reversible, birth-death, banded:width=2, progressive, progressive:absorbing, or links such as 1-2,2-1,2-3"
)


@dataclass(frozen=True)
class RateStructure:
    """Which jumps are possible.

    Args:
        num_states: Number of states, K.
        links: Ordered pairs (old, new) of states 0, ..., K - 1, without repetition.
        reversible: Whether rates are in detailed balance; then every link stands in both directions.

    Raises:
        ArgumentError: A link leads nowhere, to itself, or stands twice.
    """

    num_states: int
    links: tuple[tuple[int, int], ...]
    reversible: bool = False

    def __post_init__(self) -> None:
        """Refuse links that are none."""
        if self.num_states < 1:
            raise ArgumentError(f"`num_states` must be at least 1; got {self.num_states}.")
        for old, new in self.links:
            if not (0 <= old < self.num_states and 0 <= new < self.num_states) or old == new:
                raise ArgumentError(
                    f"`links` must be pairs of two different states out of 0, ..., {self.num_states - 1}; got "
                    f"{(old, new)}."
                )
        if len(set(self.links)) < len(self.links):
            raise ArgumentError(f"`links` must not repeat a pair; got {self.links}.")
        if self.reversible and any((new, old) not in self.links for old, new in self.links):
            raise ArgumentError("`links` of a reversible chain must stand in both directions.")

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Unordered pairs of linked states, the smaller first."""
        return tuple(sorted({(min(link), max(link)) for link in self.links}))

    @cached_property
    def allowed(self) -> np.ndarray:
        """Whether state i jumps to j, (K, K)."""
        allowed = np.zeros((self.num_states, self.num_states), dtype=bool)
        for link in self.links:
            allowed[link] = True
        return allowed

    @cached_property
    def reachable(self) -> np.ndarray:
        """Whether j can be reached from i in any number of jumps, none included, (K, K)."""
        reachable = np.asarray(self.allowed | np.eye(self.num_states, dtype=bool))
        for middle in range(self.num_states):
            reachable |= reachable[:, middle, None] & reachable[None, middle, :]
        return reachable

    @cached_property
    def absorbing(self) -> np.ndarray:
        """Whether a state is never left, (K,)."""
        return np.asarray(~self.allowed.any(axis=1))

    def generator(self, rates: Array) -> Array:
        """Generators (..., K, K) of rates of the links (..., link)."""
        return fill_generator(rates, self.links, self.num_states)

    def reversible_rates(self, exchange: Array, law: Array) -> Array:
        """Rates of the links (..., link) from exchange rates (..., pair) and the stationary law (..., K)."""
        place = {pair: index for index, pair in enumerate(self.pairs)}
        xp = array_namespace(exchange, law)
        of_pair = np.array([place[min(link), max(link)] for link in self.links])
        target = np.array([new for _, new in self.links])
        return xp.take(exchange, asarray_like(of_pair, exchange), axis=-1) * xp.take(
            law, asarray_like(target, law), axis=-1
        )


def fill_generator(rates: Array, links: tuple[tuple[int, int], ...], num_states: int) -> Array:
    """Generators (..., K, K) whose entries at `links` are `rates` (..., link) and whose rows sum to 0."""
    basis = np.zeros((len(links), num_states, num_states))
    for index, (old, new) in enumerate(links):
        basis[index, old, new] = 1.0
        basis[index, old, old] = -1.0
    flat = rates @ asarray_like(basis.reshape(len(links), -1), rates)
    return array_namespace(rates).reshape(flat, (*rates.shape[:-1], num_states, num_states))


def structure_from(spec: str, num_states: int, first_state: int = 0) -> RateStructure:
    """Build the structure that a text names (see the module).

    Args:
        spec: The text.
        num_states: Number of states, K.
        first_state: Label of the first state, for links given by labels.

    Raises:
        ArgumentError: The text names no structure, or a link out of range.
    """
    name, *options = spec.split(":")
    everyone = [(i, j) for i in range(num_states) for j in range(num_states) if i != j]
    if name in ("free", "reversible") and not options:
        return RateStructure(num_states, tuple(everyone), name == "reversible")
    if name == "birth-death" and not options:
        return RateStructure(num_states, tuple(link for link in everyone if abs(link[0] - link[1]) == 1))
    if name == "banded" and len(options) == 1 and re.fullmatch(r"width=\d+", options[0]):
        width = int(options[0].removeprefix("width="))
        if width < 1:
            raise ArgumentError(f"`width` of `structure` must be at least 1; got {spec!r}.")
        return RateStructure(num_states, tuple(link for link in everyone if abs(link[0] - link[1]) <= width))
    if name == "progressive" and options in ([], ["absorbing"]):
        last = num_states - 1
        return RateStructure(
            num_states,
            tuple(link for link in everyone if link[1] == link[0] + 1 or (options and link[1] == last)),
        )
    found = [_LINK.match(part) for part in spec.split(",")]
    if not spec or any(match is None for match in found):
        raise ArgumentError(f"`structure` must be {_KNOWN}; got {spec!r}.")
    links = tuple((int(match[1]) - first_state, int(match[2]) - first_state) for match in found if match)
    for (old, new), part in zip(links, spec.split(","), strict=True):
        if not (0 <= old < num_states and 0 <= new < num_states) or old == new:
            raise ArgumentError(
                f"`structure` names the link {part.strip()!r}; expected two different states out of {first_state}, "
                f"..., {first_state + num_states - 1}. Give `num_states` if the data show fewer states than there are."
            )
    return RateStructure(num_states, links)
