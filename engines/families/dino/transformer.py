"""DINO's encoder and decoder: deformable attention over four levels, boxes that each layer of the decoder draws better.

Mixed query selection: places from the encoder's best cells, contents learnt. Look forward twice: a layer's box is judged with the
gradient of the layer before it. Names of the state dict are the published ones, but that one layer for all tells class and box, which
there stands once for each. (Zhang et al., DINO, 2023; spec 4.4.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.families.dino.attention import DeformableAttention, box_sines, logit, map_sines

_PRIOR = 0.01
"""Probability of each class before anything is learnt."""
_CELL_SIZE = 0.05
"""Side of the box that a cell of the finest level stands for before anything is learnt, in pictures; doubled at each level."""


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, given: int, width: int, out: int, layers: int) -> None:
        super().__init__()
        sizes = [given, *[width] * (layers - 1), out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        out: Tensor = self.layers[-1](x)
        return out


class EncoderLayer(nn.Module):
    """Every cell of every level looks around itself, on all levels; (B, S, width) -> the same."""

    def __init__(self, width: int, wide: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(width, levels, heads, points)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.linear1, self.linear2 = nn.Linear(width, wide), nn.Linear(wide, width)

    def forward(self, x: Tensor, places: Tensor, cells: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
        x = self.norm1(x + self.self_attn(x + places, cells, x, shapes))
        out: Tensor = self.norm2(x + self.linear2(functional.relu(self.linear1(x))))
        return out


class DecoderLayer(nn.Module):
    """Queries look at each other, then at the maps under their boxes; (B, Q, width) -> the same."""

    def __init__(self, width: int, wide: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        self.cross_attn = DeformableAttention(width, levels, heads, points)
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.linear1, self.linear2 = nn.Linear(width, wide), nn.Linear(wide, width)

    def forward(
        self, x: Tensor, place: Tensor, boxes: Tensor, memory: Tensor, shapes: Sequence[tuple[int, int]], blocked: Tensor | None
    ) -> Tensor:
        asking = x + place
        x = self.norm2(x + self.self_attn(asking, asking, x, attn_mask=blocked, need_weights=False)[0])
        x = self.norm1(x + self.cross_attn(x + place, boxes, memory, shapes))
        out: Tensor = self.norm3(x + self.linear2(functional.relu(self.linear1(x))))
        return out


class Layer(NamedTuple):
    """What one layer says: class logits (B, Q, classes) and boxes (B, Q, 4) cx cy w h, shares."""

    logits: Tensor
    boxes: Tensor


class Encoder(nn.Module):
    def __init__(self, layers: int, width: int, wide: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(width, wide, levels, heads, points) for _ in range(layers))


class Decoder(nn.Module):
    def __init__(self, layers: int, width: int, wide: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, wide, levels, heads, points) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.ref_point_head = MLP(2 * width, width, width, 2)


class Transformer(nn.Module):
    """`transformer(maps, contents, boxes, blocked)` -> the layers of the decoder, and the encoder's own word.

    maps: one for each level, (B, width, H, W), the finest first. contents (B, Q, width) and boxes (B, Q, 4) cx cy w h, shares: queries
    that come before the real ones (denoising); blocked: see `nn.MultiheadAttention`. Both may be absent.
    The real queries are `queries`, or all cells where the maps have fewer.
    """

    def __init__(
        self,
        classes: int,
        width: int = 256,
        wide: int = 2048,
        levels: int = 4,
        heads: int = 8,
        points: int = 4,
        encoders: int = 6,
        decoders: int = 6,
        queries: int = 900,
    ) -> None:
        super().__init__()
        self.width, self.queries = width, queries
        self.level_embed = nn.Parameter(torch.empty(levels, width))
        self.encoder = Encoder(encoders, width, wide, levels, heads, points)
        self.decoder = Decoder(decoders, width, wide, levels, heads, points)
        self.enc_output, self.enc_output_norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.tgt_embed = nn.Embedding(queries, width)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for module in self.modules():
            if isinstance(module, DeformableAttention):
                module.reset()
        nn.init.normal_(self.level_embed)
        nn.init.normal_(self.tgt_embed.weight)
        self.enc_out_class_embed, self.enc_out_bbox_embed = nn.Linear(width, classes), MLP(width, width, 4, 3)
        self.class_embed, self.bbox_embed = nn.Linear(width, classes), MLP(width, width, 4, 3)
        for layer in (self.enc_out_class_embed, self.class_embed):
            nn.init.constant_(layer.bias, -math.log((1 - _PRIOR) / _PRIOR))
        for head in (self.enc_out_bbox_embed, self.bbox_embed):
            last = head.layers[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self,
        maps: Sequence[Tensor],
        contents: Tensor | None = None,
        boxes: Tensor | None = None,
        blocked: Tensor | None = None,
    ) -> tuple[list[Layer], Layer]:
        shapes = [(int(level.shape[2]), int(level.shape[3])) for level in maps]
        memory = self._encode(maps, shapes)
        selected, chosen = self._select(memory, shapes)
        asked = self.tgt_embed.weight[: chosen.shape[1]].expand(len(memory), -1, -1)
        reference = chosen.detach()
        if contents is not None and boxes is not None:
            asked, reference = torch.cat((contents, asked), 1), torch.cat((logit(boxes), reference), 1)
        layers, x, before = [], asked, reference.sigmoid()
        for layer in self.decoder.layers:
            now = before.detach()
            place = self.decoder.ref_point_head(box_sines(now, self.width))
            x = layer(x, place, now, memory, shapes, blocked)
            told = self.decoder.norm(x)
            # Judged from the box before with its gradient (look forward twice); the next layer starts from the better box.
            layers.append(Layer(self.class_embed(told), (self.bbox_embed(told) + logit(before)).sigmoid()))
            before = (self.bbox_embed(x) + logit(now)).sigmoid()
        return layers, selected

    def _encode(self, maps: Sequence[Tensor], shapes: Sequence[tuple[int, int]]) -> Tensor:
        """All cells of all levels after the encoder, (B, S, width)."""
        x = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], 1)
        places = torch.cat([map_sines(*shape, self.width, x) + e for shape, e in zip(shapes, self.level_embed, strict=True)])
        cells = torch.cat([_cells(*shape, x) for shape in shapes])[None].expand(len(x), -1, -1)
        for layer in self.encoder.layers:
            x = layer(x, places[None], cells, shapes)
        return x

    def _select(self, memory: Tensor, shapes: Sequence[tuple[int, int]]) -> tuple[Layer, Tensor]:
        """The cells whose best class is likeliest: what the encoder says of them, and the logits of their boxes (B, Q, 4)."""
        sizes = [torch.full((rows * columns, 2), _CELL_SIZE * 2**i) for i, (rows, columns) in enumerate(shapes)]
        start = torch.cat((torch.cat([_cells(*shape, memory) for shape in shapes]), torch.cat(sizes).to(memory)), 1)
        inside = ((start > 0.01) & (start < 0.99)).all(1)
        told = self.enc_output_norm(self.enc_output(memory * inside[:, None]))
        logits = self.enc_out_class_embed(told)
        n = min(self.queries, memory.shape[1])
        best = logits.amax(2).masked_fill(~inside, -math.inf).topk(n, 1).indices[..., None]
        boxes = (self.enc_out_bbox_embed(told) + logit(start)).gather(1, best.expand(-1, -1, 4))
        return Layer(logits.gather(1, best.expand(-1, -1, logits.shape[2])), boxes.sigmoid()), boxes


def _cells(rows: int, columns: int, like: Tensor) -> Tensor:
    """Centres of a map's cells, (rows * columns, 2) x and y as shares."""
    y = (torch.arange(rows, device=like.device, dtype=like.dtype) + 0.5) / rows
    x = (torch.arange(columns, device=like.device, dtype=like.dtype) + 0.5) / columns
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((x, y), -1).flatten(0, 1)
