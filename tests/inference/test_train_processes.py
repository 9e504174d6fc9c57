"""Training by several processes gives what one process gives."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import dynplat as dp
from dynplat.data import Trajectories

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import dynplat as dp
from dynplat.data import Trajectories

folder = Path(sys.argv[1])
with np.load(folder / "data.npz") as held:
    data = Trajectories.from_arrays(
        [held["times"][:n] for n in held["lengths"]], [v[:n] for v, n in zip(held["values"], held["lengths"])]
    )
fit = dp.fit(dp.load_model("filtering/local-level"), data, "train", seed=0, batch_size=2, num_epochs=3,
             learning_rate=0.05, validation=0.6, checkpoint=str(folder / "run.safetensors"))
import torch.distributed as dist
rank, extra = dist.get_rank(), fit.provenance["extra"]
figures = [extra[name] for name in ("num_processes", "log_likelihood", "validation_loss")]
(folder / f"{rank}.txt").write_text(" ".join(map(repr, figures)))
"""


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    lengths = np.array([20, 12, 15, 9, 18, 14, 11])
    values = rng.normal(size=(7, 20, 1)).cumsum(axis=1)
    times = np.arange(20.0)
    made = Trajectories.from_arrays([times[:n] for n in lengths], [v[:n] for v, n in zip(values, lengths, strict=True)])
    return made, {"times": times, "lengths": lengths, "values": values}


def test_two_processes_give_what_one_gives(data, tmp_path):
    made, arrays = data
    np.savez(tmp_path / "data.npz", **arrays)
    (tmp_path / "program.py").write_text(PROGRAM)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, str(tmp_path / "program.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    alone = str(tmp_path / "alone.safetensors")
    # Three series in batches of two: of the one with a single series a process has no part.
    options: dict[str, Any] = {"seed": 0, "batch_size": 2, "num_epochs": 3, "learning_rate": 0.05, "validation": 0.6}
    one = dp.fit(dp.load_model("filtering/local-level"), made, "train", checkpoint=alone, **options)
    texts = {(tmp_path / f"{rank}.txt").read_text() for rank in range(2)}
    assert len(texts) == 1
    assert one.provenance["extra"]["steps"] == 6
    size, likelihood, loss = texts.pop().split()
    assert size == "2"
    assert float(likelihood) == pytest.approx(one.log_likelihood, rel=1e-10)
    assert float(loss) == pytest.approx(one.provenance["extra"]["validation_loss"], rel=1e-10)
    shared, own = load_file(tmp_path / "run.safetensors"), load_file(alone)
    assert set(shared) == set(own)
    for name, value in own.items():
        np.testing.assert_allclose(shared[name], value, rtol=1e-8, atol=1e-12, err_msg=name)
