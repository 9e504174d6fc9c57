"""How the benchmarks of likelihoods measure.

Every contender runs in a process of its own, so that first calls and peak memory are its own too, on the same data,
with values that must agree. A peer that is not installed is left out and named. Ratios are to the fastest peer that can
do the case: above 1, dynplat is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Case = tuple[Any, ...]
#: Which clock the processes of contenders read.
_CLOCK = "DYNPLAT_BENCHMARK_CLOCK"


@dataclass(frozen=True)
class Benchmark:
    """Contenders and the cases that they are measured on.

    Args:
        doc: What the command says of itself.
        heading: What is computed, in a title.
        columns: What a case says, in the head of the table.
        file: The file that is run again for each contender.
        cases: All cases.
        quick: Those of `--quick`.
        make_case: Function of a case that gives its arrays.
        contenders: Functions of these arrays, and of whether gradients are asked for, that give a function without
            arguments which computes the value (and the gradients). NotImplementedError says what a contender can't do.
        ours: Names of our contenders.
        best_of: Those of them that ratios are of.
        bounds: Names of contenders that compute something else, which no contender can do faster: no value of theirs is
            compared, and they are not peers.
        too_large: Whether a contender (by name) isn't given a case: it would take minutes or more memory than there is.
        tolerance: Largest relative difference between values, or a function of a case that gives it.
        without_gradient: Whether a case has no gradients that could be measured.
    """

    doc: str
    heading: str
    columns: str
    file: str
    cases: Sequence[Case]
    quick: Sequence[Case]
    make_case: Callable[..., dict[str, np.ndarray]]
    contenders: Mapping[str, Callable[[dict[str, np.ndarray], bool], Callable[[], float]]]
    ours: Sequence[str]
    best_of: Sequence[str]
    too_large: Callable[[str, Case], bool]
    describe: Callable[[Case], str]
    tolerance: float | Callable[[Case], float] = 1e-8
    bounds: Sequence[str] = ()
    without_gradient: Callable[[Case], bool] = lambda case: False

    @property
    def peers(self) -> list[str]:
        """Names of all others."""
        return [name for name in self.contenders if name not in (*self.ours, *self.bounds)]


def main(benchmark: Benchmark) -> int:
    """Print the tables; exit code 1 when values disagree."""
    parser = argparse.ArgumentParser(description=benchmark.doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few short cases")
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file")
    parser.add_argument("--cases", type=int, nargs="+", help="numbers of the cases to run, counted from 0")
    parser.add_argument("--seconds", type=float, default=2.0, help="spent on repetitions of one measurement")
    parser.add_argument(
        "--cpu", action="store_true", help="count processor time, for a machine that does other work: on one thread"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cpu:
        os.environ[_CLOCK] = "cpu"
    if arguments.one:
        name, case, gradient, seconds = json.loads(arguments.one)
        print(json.dumps(_measure_here(benchmark, name, tuple(case), gradient, seconds)))
        return 0
    cases: list[Case] = list(benchmark.quick if arguments.quick else benchmark.cases)
    if arguments.cases:
        cases = [cases[number] for number in arguments.cases]
    lines: list[str] = []
    agree = True
    for gradient in (False, True):
        if gradient and all(benchmark.without_gradient(case) for case in cases):
            continue
        title = "value and gradient" if gradient else "value"
        header = [benchmark.columns, *benchmark.ours, *benchmark.peers, "fastest peer / dynplat"]
        header += [column for name in benchmark.bounds for column in (name, f"dynplat / {name}")]
        lines += [
            "",
            f"{benchmark.heading}, {title}: milliseconds a call (first call in seconds; MB above the start)",
            "",
        ]
        lines += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        for case in cases:
            if gradient and benchmark.without_gradient(case):
                continue
            line, agreed = _row(benchmark, case, gradient, title, arguments.seconds)
            agree = agree and agreed
            lines.append(line)
            print(line, flush=True)
    text = "\n".join(lines).strip() + "\n"
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text)
    print("values agree" if agree else "values DISAGREE")
    return 0 if agree else 1


def _row(benchmark: Benchmark, case: Case, gradient: bool, title: str, seconds: float) -> tuple[str, bool]:
    """The line of a case, and whether all values agree."""
    names = (*benchmark.ours, *benchmark.peers, *benchmark.bounds)
    results = {name: _measure(benchmark, name, case, gradient, seconds) for name in names}
    reference = results[benchmark.ours[0]].get("value", np.nan)
    tolerance = benchmark.tolerance(case) if callable(benchmark.tolerance) else benchmark.tolerance
    cells, peers = [], []
    agree = True
    for name, result in results.items():
        if "skipped" in result:
            print(f"  {name}, {case}, {title}: {result['skipped']}", file=sys.stderr)
        if name in benchmark.bounds:
            continue
        if "skipped" in result:
            cells.append("-")
            continue
        cells.append(f"{1e3 * result['seconds']:.3g} ({result['first']:.2g}; {result['memory']:.0f})")
        if not abs(result["value"] - reference) <= tolerance * abs(reference):
            agree = False
            cells[-1] += " DISAGREES"
        elif name in benchmark.peers:
            peers.append(result["seconds"])
    own = [results[name]["seconds"] for name in benchmark.best_of if "seconds" in results[name]]
    ratio = f"{min(peers) / min(own):.1f}" if peers and own else "-"
    cells.append(ratio)
    for name in benchmark.bounds:
        bound = results[name].get("seconds")
        cells.append("-" if bound is None else f"{1e3 * bound:.3g}")
        cells.append(f"{min(own) / bound:.2f}" if bound is not None and own else "-")
    return f"| {benchmark.describe(case)} | " + " | ".join(cells) + " |", agree


def _measure(benchmark: Benchmark, name: str, case: Case, gradient: bool, seconds: float) -> dict[str, Any]:
    """Measure one contender in a process of its own, which computes in float64 under JAX too."""
    if benchmark.too_large(name, case):
        return {"skipped": "too large"}
    command = [sys.executable, benchmark.file, "--one", json.dumps([name, case, gradient, seconds])]
    environment = {**os.environ, "JAX_ENABLE_X64": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, env=environment)
    if done.returncode:
        return {"skipped": f"failed: {done.stderr.strip().splitlines()[-1][:200]}"}
    return json.loads(done.stdout.splitlines()[-1])


def _measure_here(benchmark: Benchmark, name: str, case: Case, gradient: bool, budget: float) -> dict[str, Any]:
    """Measure one contender in this process."""
    arrays = benchmark.make_case(*case)
    try:
        run = benchmark.contenders[name](arrays, gradient)
    except ImportError as error:
        return {"skipped": f"not installed ({error.name})"}
    except NotImplementedError as error:
        return {"skipped": str(error)}
    clock = time.process_time if os.environ.get(_CLOCK) == "cpu" else time.perf_counter
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = clock()
    value = run()
    first = clock() - started
    seconds: list[float] = []
    while len(seconds) < 3 or (sum(seconds) < budget and len(seconds) < 200):
        started = clock()
        run()
        seconds.append(clock() - started)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"value": value, "seconds": float(np.median(seconds)), "first": first, "memory": memory}
