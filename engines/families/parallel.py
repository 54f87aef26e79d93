"""Several processes that train one network together: who they are, and the sums and messages between them.

Started by `torchrun`; without it there is one process and everything here costs nothing. Each process computes its part of the loss
such that the parts of all processes add up to the loss that one process would compute of the whole batch; so gradients are added, not
averaged.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from engines.errors import DataError

MEET_WITHIN = timedelta(hours=3)
"""How long a process waits for the others: while the first one judges on a slow machine, they have nothing to do."""
_BUCKET = 1 << 24
"""Numbers that are added up in one message: 64 MiB of float32."""

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """How many processes train together, and which one this is. rank 0 writes, judges and speaks."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0


def current() -> Processes:
    """The processes of this training; one, unless `joined` has been entered under torchrun."""
    if distributed.is_available() and distributed.is_initialized():
        return Processes(distributed.get_rank(), distributed.get_world_size())
    return Processes()


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Meet the other processes that torchrun started, if any; yields the device of this process ("cpu", "cuda:1").

    gloo on CPUs, NCCL on GPUs with one GPU for each process. Raises DataError if the device is not there.
    """
    local, under_torchrun = int(os.environ.get("LOCAL_RANK", "0")), "RANK" in os.environ and "WORLD_SIZE" in os.environ
    if torch.device(device).type == "cuda":
        present = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not present:
            raise DataError("--device cuda: no GPU that this build of torch can use; leave it out to train on the CPU")
        if under_torchrun and local >= present:
            raise DataError(f"torchrun started more processes than there are GPUs: start {present}, or leave --device cuda out")
        if under_torchrun:
            device = f"cuda:{local}"
            torch.cuda.set_device(local)
    if not under_torchrun:
        yield device
        return
    # This module of torch takes the group of the moment as its functions' default and never lets go of it, so the group's threads
    # outlive it and can abort the interpreter's end. The first optimiser imports it; here, earlier, it finds no group.
    importlib.import_module("torch.distributed.nn.functional")
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=MEET_WITHIN)
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def _home() -> torch.device:
    """Where messages must lie: NCCL knows GPUs only."""
    return torch.device("cuda", torch.cuda.current_device()) if distributed.get_backend() == "nccl" else torch.device("cpu")


def gathered(counts: Sequence[int]) -> list[list[int]]:
    """`counts` of every process, by rank."""
    if current().count == 1:
        return [list(counts)]
    mine = torch.tensor(list(counts), dtype=torch.int64, device=_home())
    everyone = [torch.empty_like(mine) for _ in range(current().count)]
    distributed.all_gather(everyone, mine)
    return [[int(n) for n in one] for one in torch.stack(everyone).tolist()]


def shares(counts: Sequence[int]) -> list[float]:
    """Of each count, this process's share in the sum over all processes; 1.0 where there is one process or nothing to count.

    A mean over this process's rows times the share of its rows is its part of the mean over all rows.
    """
    if current().count == 1:
        return [1.0] * len(counts)
    totals = [sum(column) for column in zip(*gathered(counts), strict=True)]
    return [n / total if total else 1.0 for n, total in zip(counts, totals, strict=True)]


def summed(parts: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalars of this process, added over all processes; one transfer from the device for all of them."""
    device = max((value.device for value in parts.values()), key=lambda d: d.type != "cpu")
    packed = torch.stack([value.detach().to(device, torch.float64) for value in parts.values()])
    if current().count > 1:
        packed = packed.to(_home())
        distributed.all_reduce(packed)
    return dict(zip(parts, packed.tolist(), strict=True))


def from_first(value: T) -> T:
    """What the first process holds, for all of them; plain values only."""
    if current().count == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def everyone(value: T) -> list[T]:
    """The values of all processes, by rank; plain values and tensors on the CPU."""
    if current().count == 1:
        return [value]
    values: list[T] = [value] * current().count
    distributed.all_gather_object(values, value)
    return values


@torch.no_grad()
def start_alike(model: nn.Module) -> None:
    """Give every process the first one's parameters and buffers."""
    if current().count == 1:
        return
    for value in model.state_dict().values():
        sent = value.contiguous()  # a message has no strides
        distributed.broadcast(sent, src=0)
        value.copy_(sent)


@torch.no_grad()
def add_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add each gradient over all processes, in place; one that no process has stays None, one that some lack counts as 0 there."""
    if current().count == 1:
        return
    every = [p for p in parameters if p.requires_grad]
    present = torch.tensor([p.grad is not None for p in every], dtype=torch.int32, device=_home())
    distributed.all_reduce(present, op=distributed.ReduceOp.MAX)
    for parameter, wanted in zip(every, present.tolist(), strict=True):
        if wanted and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    bucket: list[Tensor] = []
    for gradient in [p.grad for p in every if p.grad is not None]:
        if bucket and (sum(g.numel() for g in bucket) + gradient.numel() > _BUCKET or gradient.dtype != bucket[0].dtype):
            _add(bucket)
            bucket = []
        bucket.append(gradient)
    if bucket:
        _add(bucket)


def _add(bucket: Sequence[Tensor]) -> None:
    flat = torch.cat([g.reshape(-1) for g in bucket])
    distributed.all_reduce(flat)
    for gradient, added in zip(bucket, torch.split(flat, [g.numel() for g in bucket]), strict=True):
        gradient.copy_(added.view(gradient.shape))
