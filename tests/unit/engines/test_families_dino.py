"""DINO: attention, selection, denoising and its mask against plain forms; four rendered pictures learnt by heart."""

from __future__ import annotations

import math

import pytest
import torch
from overfitting import four_pictures, learn_by_heart
from torch import Tensor
from truths import truth_of

from engines.families import family, parallel
from engines.families.base import Course
from engines.families.dino.attention import DeformableAttention, box_sines, logit, map_sines, sampled
from engines.families.dino.denoising import Spoilt, spoil
from engines.families.dino.dino import DINO, SCALES
from engines.families.dino.transformer import Transformer
from engines.families.matching import gather, to_corners
from engines.taxonomy import LEUKEMIA_ATTRI

SMALL = SCALES["r18"]._replace(queries=30, width=64, wide=128, heads=4, encoders=1, decoders=2, spoilt=20)
SHAPES = ((4, 6), (2, 3))
IMAGES = torch.zeros(2, 3, 64, 128)


def bilinear(cells: Tensor, x: float, y: float) -> Tensor:
    """The map (rows, columns, depth) at x, y as shares of it; cells beyond the border are 0."""
    rows, columns, depth = cells.shape
    at_x, at_y = x * columns - 0.5, y * rows - 0.5
    total = torch.zeros(depth)
    for row in (math.floor(at_y), math.floor(at_y) + 1):
        for column in (math.floor(at_x), math.floor(at_x) + 1):
            if 0 <= row < rows and 0 <= column < columns:
                total += cells[row, column] * (1 - abs(at_y - row)) * (1 - abs(at_x - column))
    return total


def test_samples_are_bilinear_and_weighed_level_by_level() -> None:
    torch.manual_seed(0)
    batch, queries, heads, depth, points = 2, 3, 2, 5, 4
    value = torch.randn(batch, sum(r * c for r, c in SHAPES), heads, depth)
    places = torch.rand(batch, queries, heads, len(SHAPES), points, 2) * 1.2 - 0.1
    weights = torch.rand(batch, queries, heads, len(SHAPES), points)
    found = sampled(value, SHAPES, places, weights).view(batch, queries, heads, depth)
    for b, q, h in ((0, 0, 0), (1, 2, 1), (0, 1, 1)):
        expected, first = torch.zeros(depth), 0
        for level, (rows, columns) in enumerate(SHAPES):
            cells = value[b, first : first + rows * columns, h].view(rows, columns, depth)
            first += rows * columns
            for point in range(points):
                x, y = places[b, q, h, level, point].tolist()
                expected += weights[b, q, h, level, point] * bilinear(cells, x, y)
        torch.testing.assert_close(found[b, q, h], expected)


def test_offsets_count_in_cells_around_a_point_and_in_half_sides_around_a_box() -> None:
    """A map whose values are its own x and y: what is seen is where it was looked at."""
    attention = DeformableAttention(2, levels=1, heads=1, points=1)
    rows, columns = 20, 40
    y, x = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij")
    memory = torch.stack((x, y), -1).view(1, -1, 2)
    with torch.no_grad():
        for layer in (attention.value_proj, attention.output_proj):
            layer.weight.copy_(torch.eye(2))
        attention.sampling_offsets.bias.copy_(torch.tensor([2.0, -1.0]))
        query = torch.zeros(1, 1, 2)
        point = attention(query, torch.tensor([[[0.5, 0.5]]]), memory, ((rows, columns),))
        box = attention(query, torch.tensor([[[0.5, 0.5, 0.2, 0.4]]]), memory, ((rows, columns),))
    assert point.flatten().tolist() == pytest.approx([0.5 + 2 / 40, 0.5 - 1 / 20], abs=1e-6)
    assert box.flatten().tolist() == pytest.approx([0.5 + 2 * 0.1, 0.5 - 0.2], abs=1e-6)


def test_heads_begin_in_directions_of_their_own() -> None:
    attention = DeformableAttention(16, levels=2, heads=4, points=3)
    bias = attention.sampling_offsets.bias.view(4, 2, 3, 2)
    assert bias[:, 0, 0].round(decimals=5).tolist() == [[1, 0], [0, 1], [-1, 0], [0, -1]]
    assert bias[0, 1, 2].tolist() == [3, 0]


def test_sines_tell_places_apart_in_the_published_order() -> None:
    box = torch.tensor([[[0.25, 0.5, 0.1, 0.2]]])
    told = box_sines(box, 8)[0, 0].view(4, 2, 2)  # y, x, w, h; two frequencies; sine and cosine
    for row, number in zip(told, (0.5, 0.25, 0.1, 0.2), strict=True):
        for pair, power in zip(row, (0, 0.5), strict=True):
            angle = 2 * math.pi * number / 10_000**power
            assert pair.tolist() == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-5)
    assert map_sines(3, 5, 16, box).shape == (15, 16)
    assert len(map_sines(3, 5, 16, box).unique(dim=0)) == 15


def test_the_logit_is_the_sigmoids_inverse_and_finite_at_the_ends() -> None:
    shares = torch.tensor([0.0, 0.1, 0.5, 0.999, 1.0])
    torch.testing.assert_close(logit(shares).sigmoid(), shares, atol=2e-5, rtol=0)
    assert torch.isfinite(logit(torch.tensor([-1.0, 2.0]))).all()


@pytest.fixture
def spoilt() -> Spoilt:
    """Of two pictures, with three cells and one."""
    wanted = gather(
        [truth_of([[10, 10, 30, 30], [40, 20, 60, 50], [90, 8, 120, 30]], [1, 5, 9]), truth_of([[20, 20, 60, 50]], [2])], IMAGES
    )
    return spoil(wanted, 14, torch.Generator().manual_seed(1))


def test_the_wanted_stay_within_half_a_side_and_the_unwanted_leave_it() -> None:
    wanted = gather([truth_of([[56, 24, 72, 40]], [5])], IMAGES[:1])
    made = spoil(wanted, 14, torch.Generator().manual_seed(1))
    assert (made.groups, made.n) == (100, 2 * 100)
    moves = (to_corners(made.boxes[0]) - wanted.boxes).abs() / ((wanted.boxes[0, 2:] - wanted.boxes[0, :2]).repeat(2) / 2)
    kept, left = moves.view(100, 2, 4).unbind(1)
    assert kept.max() < 1
    assert kept.mean() == pytest.approx(0.5, abs=0.05)
    assert left.min() >= 1 - 1e-4
    assert left.max() < 2 + 1e-4
    other = (made.classes != 5).float().mean()
    assert 0.1 < other < 0.35, "a quarter is given a random class"


def test_spoilt_queries_are_paired_with_their_own_cells(spoilt: Spoilt) -> None:
    groups = 100 // 3
    assert (spoilt.groups, spoilt.n) == (groups, 2 * 3 * groups)
    pairs = spoilt.pairs
    for cell, picture in enumerate((0, 0, 0, 1)):
        mine = pairs.cell == cell
        assert (pairs.image[mine] == picture).all()
        assert pairs.query[mine].tolist() == [6 * group + (cell if picture == 0 else 0) for group in range(groups)]
    assert spoilt.there[0].all()
    assert spoilt.there[1].view(groups, 2, 3).float().mean((0, 1)).tolist() == [1, 0, 0]


def test_real_queries_never_see_the_answers_and_groups_not_each_other(spoilt: Spoilt) -> None:
    blocked, n = spoilt.blocked(4), spoilt.n
    assert blocked.shape == (n + 4, n + 4)
    assert blocked[n:, :n].all()
    assert not blocked[:, n:].any()
    own = torch.zeros(n, n, dtype=torch.bool)
    for group in range(spoilt.groups):
        own[6 * group : 6 * group + 6, 6 * group : 6 * group + 6] = True
    assert torch.equal(~blocked[:n, :n], own)


def test_processes_spoil_each_its_own_cells_as_one_would_all(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = [truth_of([[10, 10, 30, 30], [40, 20, 60, 50], [90, 8, 120, 30]], [1, 5, 9]), truth_of([[20, 20, 60, 50]], [2])]
    whole = spoil(gather(truth, IMAGES), 14, torch.Generator().manual_seed(1))
    monkeypatch.setattr(parallel, "gathered", lambda _: [[3, 3, 1], [1, 1, 1]])
    for rank in (0, 1):
        monkeypatch.setattr(parallel, "current", lambda rank=rank: parallel.Processes(rank, 2))
        mine = spoil(gather([truth[rank]], IMAGES[:1]), 14, torch.Generator().manual_seed(1))
        assert mine.groups == whole.groups
        assert torch.equal(mine.classes[0], whole.classes[rank])
        torch.testing.assert_close(mine.boxes[0], whole.boxes[rank])
        assert torch.equal(mine.there[0], whole.there[rank])


def test_without_a_cell_there_is_nothing_to_spoil() -> None:
    made = spoil(gather([truth_of([], []), truth_of([], [])], IMAGES), 14)
    assert (made.n, made.groups, len(made.pairs.cell)) == (0, 0, 0)
    assert not made.blocked(3).any()


def test_crowded_pictures_have_one_group() -> None:
    rows = [[8.0 * (i % 15), 8.0 * (i // 15), 8.0 * (i % 15) + 6, 8.0 * (i // 15) + 6] for i in range(110)]
    assert spoil(gather([truth_of(rows, [0] * 110)], IMAGES[:1]), 14).groups == 1


def test_the_queries_start_from_the_encoders_best_cells() -> None:
    torch.manual_seed(0)
    transformer = Transformer(3, width=32, wide=32, levels=2, heads=2, points=2, encoders=1, decoders=2, queries=4).eval()
    maps = [torch.randn(1, 32, 8, 8), torch.randn(1, 32, 4, 4)]
    with torch.no_grad():
        layers, chosen = transformer(maps)
        few, _ = transformer([maps[0][..., :1, :1], maps[1][..., :1, :1]])
    assert len(layers) == 2
    # Nothing learnt yet: boxes are the cells' own, a twentieth of the picture at the finest level, a tenth at the next.
    torch.testing.assert_close(layers[-1].boxes, chosen.boxes, atol=1e-4, rtol=0)
    assert {round(side, 3) for side in chosen.boxes[..., 2:].flatten().tolist()} <= {0.05, 0.1}
    best = chosen.logits.amax(2)[0]
    assert best.tolist() == sorted(best.tolist(), reverse=True)
    assert few[-1].logits.shape == (1, 2, 3), "maps of fewer cells than queries give as many queries as cells"


def test_a_layers_box_is_judged_with_the_gradient_of_the_layer_before() -> None:
    """Look forward twice: the last layer's loss reaches the box head by way of the layer before, whose own content it never touches."""
    torch.manual_seed(0)
    transformer = Transformer(3, width=32, wide=32, levels=1, heads=2, points=2, encoders=1, decoders=2, queries=4)
    seen: list[Tensor] = []
    handle = transformer.bbox_embed.register_forward_hook(lambda *call: seen.append(call[2]))
    layers, _ = transformer([torch.randn(1, 32, 8, 8)])
    handle.remove()
    of_first, refined, of_last, _ = seen  # each layer: what is judged, what the next starts from
    gradients = torch.autograd.grad(layers[-1].boxes.sum(), (refined, of_last), retain_graph=True)
    assert all((gradient != 0).all() for gradient in gradients)
    (nothing,) = torch.autograd.grad(layers[-1].boxes.sum(), (of_first,), allow_unused=True, retain_graph=True)
    assert nothing is None


@pytest.fixture(scope="module")
def network() -> DINO:
    torch.manual_seed(0)
    return DINO("r18", scale=SMALL)


def test_rows_are_boxes_in_input_px_with_objectness_one(network: DINO) -> None:
    with torch.no_grad():
        rows, maps = network.eval().look(torch.rand(2, 3, 64, 96))
    assert rows.shape == (2, 30, 5 + len(LEUKEMIA_ATTRI.classes))
    assert (rows[..., 4] == 1).all()
    assert ((rows[..., 5:] > 0) & (rows[..., 5:] < 1)).all()
    assert (rows[..., 0] <= 96).all() and (rows[..., 1] <= 64).all() and (rows[..., 0] > 64).any()
    assert network.describe(maps, torch.zeros(3, 5)).isnan().all()


@pytest.mark.parametrize("boxes", [[[8.0, 8.0, 40.0, 40.0]], []], ids=["a cell", "none"])
def test_every_weight_learns(network: DINO, boxes: list[list[float]]) -> None:
    """Also in a batch without a cell: where processes share the work, each must have a gradient for everything."""
    network.train()
    parts = network.losses(torch.rand(2, 3, 64, 64), [truth_of(boxes, [3] * len(boxes)), truth_of([], [])])
    assert set(parts) == {"cls", "l1", "giou", "denoise"}
    assert all(torch.isfinite(part) for part in parts.values())
    torch.stack(list(parts.values())).sum().backward()
    assert not [name for name, value in network.named_parameters() if value.grad is None]
    network.zero_grad(set_to_none=True)


def test_the_noise_is_the_courses_own(network: DINO) -> None:
    """So that a run that goes on after a stop draws what it would have drawn."""
    images, truth = torch.rand(1, 3, 64, 64), [truth_of([[8, 8, 40, 40]], [3])]
    network.train()
    told = []
    for seed in (1, 1, 2):
        network.learner(Course(noise=torch.Generator().manual_seed(seed)))
        with torch.no_grad():
            told.append(network.losses(images, truth)["denoise"].item())
    network.noise = None
    assert told[0] == pytest.approx(told[1])
    assert told[0] != pytest.approx(told[2])


def test_a_region_to_ignore_over_all_of_the_picture_bears_no_loss(network: DINO) -> None:
    everything = truth_of([], [], [[-1e4, -1e4, 1e4, 1e4]])
    parts = network.train().losses(torch.rand(1, 3, 64, 64), [everything])
    assert torch.stack(list(parts.values())).tolist() == [0, 0, 0, 0]


def test_it_is_a_family_by_name_in_two_sizes() -> None:
    assert family("dino") is DINO
    assert DINO.sizes == ("r18", "r50")
    assert DINO.iou == 1, "a set suppresses nothing"


def test_four_pictures_are_learnt_by_heart() -> None:
    """From random weights, in about 15 s of one core."""
    torch.manual_seed(0)
    images, truth = four_pictures()
    network = DINO("r18", scale=SMALL)
    reached, _ = learn_by_heart(network, images, truth, most=200)
    assert reached > 0.9
