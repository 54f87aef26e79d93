"""Batch normalisation whose statistics are those of the whole batch, though it is spread over several processes.

torch's own synchronised normalisation needs GPUs; this one is exact on CPUs too. Only training under torchrun uses it: the averaged
network and every checkpoint keep the plain layers, whose state has the same names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

_repeated: ContextVar[int] = ContextVar("repeated", default=1)


@contextmanager
def repeated(times: int) -> Iterator[None]:
    """While so many processes are given the same pictures: they count once in the running variance."""
    token = _repeated.set(times)
    try:
        yield
    finally:
        _repeated.reset(token)


def _exact(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class _Normalise(torch.autograd.Function):
    """y = (x - mean) / sqrt(var + eps) * weight + bias with mean and variance over all processes, and its exact gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        variance, mean = torch.var_mean(_exact(x), (0, 2, 3), correction=0)
        rows = x.numel() // x.shape[1]
        mine = torch.cat([mean, variance, mean.new_full((1,), float(rows))])
        everyone = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
        distributed.all_gather(everyone, mine)
        # In float64: the mean of means and the spread between them must not lose what one process would have kept.
        table = torch.stack(everyone).double()
        means, variances, counts = torch.split(table, [len(mean), len(mean), 1], dim=1)
        total = counts.sum()
        whole_mean = (means * counts).sum(0) / total
        whole_variance = ((variances + (means - whole_mean) ** 2) * counts).sum(0) / total
        mean, variance = whole_mean.to(mean.dtype), whole_variance.to(mean.dtype)
        y = functional.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(variance + eps), total)
        ctx.mark_non_differentiable(mean, variance, total)
        return y, mean, variance, total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, inverse, total = ctx.saved_tensors
        dy = _exact(gradients[0])
        standard = (_exact(x) - mean[:, None, None]) * inverse[:, None, None]
        of_bias, of_weight = dy.sum((0, 2, 3)), (dy * standard).sum((0, 2, 3))
        both = torch.stack([of_bias, of_weight]).double()
        distributed.all_reduce(both)
        mean_dy, mean_dy_standard = (both / total).to(dy.dtype)[:, :, None, None]
        dx = (dy - mean_dy - standard * mean_dy_standard) * (weight * inverse)[:, None, None]
        # The gradients of weight and bias stay this process's own: they are added with all the others.
        return dx.to(x.dtype), of_weight.to(weight.dtype), of_bias.to(weight.dtype), None


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the batches of all processes; each of them must come through here equally often."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return super().forward(x)
        y, mean, variance, total = _Normalise.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]  # torch stub
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            factor = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, factor)
            rows = total / _repeated.get()
            self.running_var.lerp_(variance * (rows / (rows - 1)).to(variance.dtype), factor)
        return y  # type: ignore[no-any-return]  # torch stub


def synchronise(model: nn.Module) -> None:
    """Put a synchronised layer in the place of each batch normalisation, with the same parameters and buffers (not copies)."""
    for name, child in list(model.named_children()):
        kept = isinstance(child, SynchronisedBatchNorm2d) or getattr(child, "frozen", False)  # a frozen one has no batches to tell of
        if kept or not isinstance(child, nn.BatchNorm2d):
            synchronise(child)
            continue
        layer = SynchronisedBatchNorm2d(child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats)
        for key, parameter in child.named_parameters(recurse=False):
            setattr(layer, key, parameter)
        for key, buffer in child.named_buffers(recurse=False):
            layer.register_buffer(key, buffer)
        setattr(model, name, layer.train(child.training))
