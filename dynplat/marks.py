r"""Codes of the marks of multi-state observations, one per row (`Observations.marks`, `Trajectories.marks`).

A row of a multi-state trajectory says *state s at time t*. Its mark says how that became known, which decides the row's
factor in the likelihood of a Markov jump process with rates q and transition probabilities p over the gap since the
previous row in state r (compare Jackson 2011, doi:10.18637/jss.v038.i08):

- `OBSERVED`: the state was looked at; where it was in between is not known. The factor is :math:`p_{rs}`.
- `ENTERED`: the state was entered at exactly this time, and which state it was entered from is not known: the factor is
  :math:`\sum_{u \ne s} p_{ru} q_{us}`. Deaths are recorded so.
- `MOVED`: the state was entered at exactly this time, and nothing happened since the previous row: the factor is
  :math:`e^{q_{rr} \Delta t} q_{rs}`. Continuously watched paths are recorded so.
- `STAYED`: the state of the previous row is still occupied, and nothing happened in between: the factor is
  :math:`e^{q_{rr} \Delta t}`.

A row in which nothing is observed says nothing, whatever its mark; neither does the mark of a first row. Data without
marks are data in which every row is `OBSERVED`.
"""

from __future__ import annotations

OBSERVED = 0
ENTERED = 1
MOVED = 2
STAYED = 3

#: Code -> what it says, for tables and messages.
MEANINGS = {
    OBSERVED: "in this state at this time",
    ENTERED: "entered this state at exactly this time, from an unknown one",
    MOVED: "moved to this state at exactly this time, straight from the state of the previous row",
    STAYED: "still in the state of the previous row, without a change in between",
}
