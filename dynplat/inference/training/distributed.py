"""Several processes that train one model: each takes its share of a batch, and sums go round.

The processes are those of `torch.distributed`, as `torchrun` starts them: NCCL between GPUs, Gloo between CPUs.
"""

from __future__ import annotations

import atexit
import os
from typing import Any, NamedTuple


class Ranks(NamedTuple):
    """Which of how many processes this is.

    Attributes:
        rank: Number of this process, from 0; process 0 writes.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    def share(self, index: Any) -> Any:
        """This process's part of the items of a batch; it may be empty."""
        return index[self.rank :: self.size]

    def add(self, vector: Any) -> Any:
        """Sum of a tensor over all processes, in place."""
        if self.size > 1:
            import torch.distributed

            torch.distributed.all_reduce(vector)
        return vector

    def spread(self, tensor: Any) -> Any:
        """Process 0's tensor, in all processes, in place."""
        if self.size > 1:
            import torch.distributed

            torch.distributed.broadcast(tensor, 0)
        return tensor


def joined(device: str) -> Ranks:
    """Join the processes that `torchrun` started, or those of a group that the caller made; alone there is one.

    Every process takes the GPU of its local rank where `device` is `cuda`.
    """
    import torch
    import torch.distributed as dist

    if not dist.is_available():
        return Ranks()
    started = int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ
    if device == "cuda" and "LOCAL_RANK" in os.environ and (started or dist.is_initialized()):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if started and not dist.is_initialized():
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        # Once a process: a group that is left and joined again may find its port taken.
        atexit.register(_leave)
    return Ranks(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Ranks()


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
