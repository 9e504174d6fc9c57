"""What to say when nobody answers to a name: what is close, and which plugin might have brought it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from dynplat.errors import ArgumentError, UnknownNameError
from dynplat.host.hookspecs import KINDS
from dynplat.host.report import Component, PluginReport, Provider

#: Kind of component -> what a sentence calls it.
WORDS = {"model": "model", "dataset": "data set", "inference": "inference", "score": "score"}

_LISTINGS = {
    "model": "`dynplat models`",
    "dataset": "`dynplat datasets`",
    "inference": "`dynplat.list_inferences()`",
    "score": "`dynplat scores`",
    None: "`dynplat models`, `dynplat datasets` and `dynplat scores`",
}

#: Longest list of names that an error message spells out.
_MOST_NAMES = 12


def check_kind(kind: str) -> None:
    """Refuse a word that is no kind of component.

    Raises:
        ArgumentError: `kind` is none of `model`, `dataset`, `inference`, `score`.
    """
    if kind not in KINDS:
        raise ArgumentError(f"`kind` must be one of {', '.join(map(repr, KINDS))}; got {kind!r}.")


def unknown_name(
    kind: str | None,
    id: str,
    components: Sequence[Component],
    other_kinds: Sequence[str],
    reports: Sequence[PluginReport],
) -> UnknownNameError:
    """Make the error for a name that nobody answers to.

    Args:
        kind: Kind of component that was asked for, or None for any.
        id: The name.
        components: The components that there are.
        other_kinds: Kinds in which the name exists.
        reports: Reports of all plugins.
    """
    word = WORDS[kind] if kind else "component"
    names = sorted({component.id for component in components})
    sentences = [f"no {word} is called {id!r}."]
    close = close_names(str(id), names)
    if other_kinds:
        sentences.append(f"There is a{'n' if other_kinds[0][0] in 'ai' else ''} {WORDS[other_kinds[0]]} of that name.")
    elif close:
        sentences.append(f"Did you mean {' or '.join(map(repr, close))}?")
    if len(names) <= _MOST_NAMES:
        sentences.append(f"Known: {', '.join(names) or 'none'}.")
    else:
        sentences.append(f"There are {len(names)}: list them with {_LISTINGS[kind]}.")
    absent = [report for report in reports if report.state != "active"]
    if absent:
        named = [f"{Provider(r.distribution, r.version, r.name, r.module)} is {r.state} ({r.reason})" for r in absent]
        sentences.append(f"It may belong to a plugin that is not active: {'; '.join(named)}.")
    return UnknownNameError(" ".join(sentences))


def close_names(name: str, names: Sequence[str]) -> list[str]:
    """Return up to three names that resemble `name`, also by what follows the family of a model."""
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.7)
    if not close:
        tail = name.rpartition("/")[2]
        by_tail = {candidate.rpartition("/")[2]: candidate for candidate in names}
        close = [by_tail[match] for match in difflib.get_close_matches(tail, list(by_tail), n=3, cutoff=0.7)]
    return close
