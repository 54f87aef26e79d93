"""FCOS beside torchvision's own, on the same weights and pictures. Needs torch with its torchvision (2.14.1 with 0.29.1), no GPU.

The environment of the project has a torch without it. In another one: `pip install torch==2.14.1 torchvision==0.29.1`, then
`python -m pytest tests/gpu/test_fcos_beside_torchvision.py` from the repository.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engines.decode import Thresholds, candidates
from engines.families.base import Truth
from engines.families.fcos.fcos import FCOS
from engines.network.foreign import import_resnet
from engines.taxonomy import LEUKEMIA_ATTRI

try:  # a torchvision of another torch raises RuntimeError
    from torchvision.models import resnet50
    from torchvision.models.detection import fcos as torchvisions
    from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
    from torchvision.ops import FrozenBatchNorm2d
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7
except Exception as error:
    pytest.skip(f"no torchvision that fits this torch ({type(error).__name__})", allow_module_level=True)

pytestmark = pytest.mark.gpu
CLASSES = len(LEUKEMIA_ATTRI.classes)
SIZES = [(256, 320), (224, 352)]
"""H and W; of the second P6 and P7 do not divide the picture."""


def theirs(hw: tuple[int, int]) -> Any:
    """torchvision's FCOS R50-FPN with random weights, statistics and biases; frozen normalisation."""
    torch.manual_seed(3)
    body = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    backbone = _resnet_fpn_extractor(body, 3, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
    network = torchvisions.FCOS(backbone, CLASSES, min_size=min(hw), max_size=max(hw), score_thresh=0.02, detections_per_img=300)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif name.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif ".bn3.weight" in name:
                value.uniform_(0.1, 0.4)  # else sixteen blocks add up to numbers of thousands
            elif name.endswith(("cls_logits.weight", "bbox_reg.weight", "bbox_ctrness.weight")):
                value.normal_(0, 0.05)
            elif name.endswith("bbox_reg.bias"):
                value.fill_(1.5)
            elif name.endswith("cls_logits.bias"):
                value.fill_(-1)
    return network


@pytest.fixture(scope="module", params=SIZES, ids=str)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, FCOS, Tensor, list[Truth]]:
    """Both networks, two pictures, and the cells on them; ours has its weights by the importer and the last layer by name."""
    other, path = theirs(request.param), tmp_path_factory.mktemp("weights") / "fcos.pth"
    torch.save(other.state_dict(), path)
    ours = import_resnet(Path(path), "fcos")[0]
    assert isinstance(ours, FCOS)
    types = {k: v for k, v in other.state_dict().items() if ".cls_logits." in k}
    assert not ours.load_state_dict(types, strict=False).unexpected_keys
    torch.manual_seed(4)
    boxes = [torch.tensor([[10.0, 20, 60, 70], [100, 90, 260, 200], [30, 100, 50, 118]]), torch.tensor([[5.0, 5, 90, 120]])]
    classes = [torch.tensor([1, 5, 13]), torch.tensor([0])]
    truth = [Truth(b, c, torch.full((len(b), 7), -1), torch.zeros(0, 4)) for b, c in zip(boxes, classes, strict=True)]
    return other, ours, torch.rand(2, 3, *request.param), truth


@pytest.mark.parametrize("exact", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_the_first_steps_losses_and_gradients_are_equal(pair: tuple[Any, FCOS, Tensor, list[Truth]], exact: torch.dtype) -> None:
    """Gradients are compared in float64 alone: in 32 bits they differ by a percent for some layers, by rounding."""
    other, ours, images, truth = (copy.deepcopy(one) for one in pair)
    images = images.to(exact)
    other.to(exact).train()
    ours.to(exact).train()
    expected = other(list(images), [{"boxes": one.boxes_px.to(exact), "labels": one.classes} for one in truth])
    found = ours.losses(images, truth)
    for name, there in {"cls": "classification", "box": "bbox_regression", "ctr": "bbox_ctrness"}.items():
        assert found[name].item() == pytest.approx(expected[there].item(), abs=1e-4), name
    if exact is torch.float32:
        return
    torch.stack(list(expected.values())).sum().backward()
    torch.stack(list(found.values())).sum().backward()
    grads = dict(other.named_parameters())
    compared = 0
    for name, parameter in ours.named_parameters():
        source = name.replace("backbone.", "backbone.body.", 1).replace("pyramid.", "backbone.fpn.", 1)
        if source not in grads or grads[source].grad is None:
            assert parameter.grad is None, name  # frozen there, frozen here
            continue
        assert parameter.grad is not None, name
        assert (parameter.grad - grads[source].grad).norm() < 1e-4 * grads[source].grad.norm(), name
        compared += 1
    assert compared > 80


@torch.no_grad()
def test_detections_are_equal(pair: tuple[Any, FCOS, Tensor, list[Truth]]) -> None:
    other, ours, images, _ = pair
    expected = other.eval()(list(images))
    rows = ours.eval().look(images)[0]
    for row, there in zip(rows, expected, strict=True):
        found = candidates(row.numpy(), Thresholds(0.02, 0.6, 300, agnostic=False, multi_label=True))
        assert len(found) == len(there["scores"]) > 20
        assert torch.allclose(torch.from_numpy(found.scores), there["scores"], atol=1e-4)
        # Of equal scores either may come first.
        ours_rows = torch.cat((torch.from_numpy(found.boxes_px), torch.from_numpy(found.classes)[:, None]), 1)
        theirs_rows = torch.cat((there["boxes"], there["labels"][:, None]), 1)
        distance = (ours_rows[:, None] - theirs_rows[None]).abs().amax(2)
        assert distance.amin(1).max() < 1e-2
