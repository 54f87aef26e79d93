"""What OpenVINO is given in place of the bundle's graphs as they are: the same numbers, without what it does slowly or wrongly.

Each function changes a model that was just read and is a few nodes long; what it does not know, it leaves alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.errors import BundleError
from engines.runtime.graphs import IMAGE, P2, P3
from engines.runtime.logits import Level

POOLED = "pooled"
"""The attribute graph's input once its regions are pooled outside of it: (n, h, w, C2 + C3) float32."""
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass(frozen=True)
class Pool:
    """One RoiAlign that was taken out of the attribute graph: of which map, at which scale, to which of the pooled channels."""

    map: str
    scale: float
    channels: slice


def with_unsigned_maps(model: Any) -> Any:
    """The model with its maps' 8-bit numbers stored from 0 to 255, zero at 128, in place of -128 to 127: the same values.

    OpenVINO's CPU plugin (2026.4) loses the negative numbers of a signed map that goes from a convolution through a Concat into the
    next one, as in every C3 block: the detector then sees hundreds of cells that are not there. Unsigned maps pass, as quickly. The
    file stays signed, as TensorRT wants it; weights are left alone, and a float graph has nothing to change.
    """
    from openvino import opset13 as op

    for shift in model.get_ordered_ops():
        # DequantizeLinear's Subtract of the zero point, behind QuantizeLinear's FakeQuantize and Convert to 8 bits.
        chain = _chain_to(shift, ("Subtract", "Convert", "Convert", "FakeQuantize"))
        if not chain or chain[2].get_element_type().to_string() != "i8":
            continue
        picture, low, high = (chain[3].input_value(i) for i in range(3))
        stored = op.fake_quantize(picture, low, high, np.float32(0), np.float32(255), 256)
        shift.input(0).replace_source_output(op.convert(op.convert(stored, "u8"), "f32").output(0))
        shift.input(1).replace_source_output(op.add(shift.input_value(1), np.float32(128)).output(0))
    model.validate_nodes_and_infer_types()
    return model


def with_levels_for_input(openvino: Any, model: Any) -> Any:
    """The detector with the letterboxed picture as it is for its input, (1, H, W, 3) uint8 BGR: it scales and quantises it itself.

    It reads a quarter of the bytes then, and does it in passing: turning the picture to float planes before took as long again as all
    that. Blue and red are exchanged in the first convolution's weights.
    """
    from openvino import opset13 as op

    planes = model.input(IMAGE).get_node()
    _, channels, height, width = planes.output(0).get_shape()
    picture = op.parameter((1, height, width, channels), np.uint8)
    picture.output(0).get_tensor().set_names({IMAGE})
    _channels_last(planes.output(0), op.divide(op.convert(picture, "f32"), np.float32(255)).output(0), backwards=True)
    return openvino.Model(model.get_results(), [picture], "detector")


def with_maps_as_computed(model: Any) -> dict[str, tuple[float, float]]:
    """Changes a detector to give out its feature maps as (1, H, W, C), and in 8 bits where they are quantised: as it computes them.

    Gives step and zero of each (see `engines.runtime.roi_align.FeatureMap`). Turning whole maps round and back to float took a sixth of
    the detector's time; of regions it takes next to nothing.
    """
    from openvino import opset13 as op

    steps = {}
    for result in model.get_results():
        name, output = result.output(0).get_any_name(), result.input_value(0)
        if name not in (P2, P3):
            continue
        chain = _chain_to(output.get_node(), ("Multiply", "Subtract", "Convert", "Convert", "FakeQuantize"))
        steps[name] = (1.0, 0.0)
        source = output
        if chain and chain[3].get_element_type().to_string() == "u8":
            low, high = (float(chain[4].input_value(i).get_node().get_data()) for i in (1, 2))
            step = (high - low) / 255
            steps[name] = (step, float(round(-low / step)))
            source = chain[3].output(0)
        turned = op.transpose(source, np.array(_TO_NHWC))
        output.get_tensor().set_names(set())
        turned.output(0).get_tensor().set_names({name})
        result.input(0).replace_source_output(turned.output(0))
    model.validate_nodes_and_infer_types()
    return steps


def with_logits(openvino: Any, model: Any) -> tuple[Any, dict[str, Level]]:
    """The detector cut off behind its last convolutions: their logits (1, H, W, 3 x outputs) float32 are given out in place of rows.

    Gives also what each of them means. Decoding took a seventh of the detector's time, nearly all of it for background;
    `engines.runtime.logits` decodes the rest. Raises BundleError where rows are made otherwise than in graphs exported here.
    """
    from openvino import opset13 as op

    nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    results = [result for result in model.get_results() if result.output(0).get_any_name() in (P2, P3)]
    levels = {}
    for at in ("decode.p3", "decode.p4", "decode.p5"):
        try:
            outputs = nodes[f"{at}.reshape"].output(0).get_shape()[2]
            anchors_px = nodes[f"{at}.anchors"].get_data().reshape(-1, 2)
            stride = float(nodes[f"{at}.stride"].get_data().item())
            classes = nodes[f"{at}.concat"].output(0).get_shape()[3] - 5
        except (KeyError, AttributeError, IndexError, ValueError) as error:
            raise BundleError(f"the detector is decoded in another way than this runtime knows ({error} of {at})") from error
        logits = op.transpose(nodes[f"{at}.reshape"].input_value(0), np.array(_TO_NHWC))
        logits.output(0).get_tensor().set_names({at})
        results.append(op.result(logits))
        levels[at] = Level(anchors_px, stride, classes, outputs)
    return openvino.Model(results, model.get_parameters(), "detector"), levels


def without_roi_align(openvino: Any, model: Any) -> tuple[Any, tuple[Pool, ...]]:
    """The attribute graph from its pooled regions on, as its one input `POOLED`, and what is to be pooled.

    Raises BundleError where it pools otherwise than those that are exported here.
    """
    from openvino import opset13 as op

    joints = (node for node in model.get_ordered_ops() if node.get_type_name() == "Concat")
    joint: Any = next(joints, None)
    pools, channels = [], 0
    for i in range(joint.get_input_size() if joint else 0):
        node = joint.input_value(i).get_node()
        how = node.get_attributes() if node.get_type_name() == "ROIAlign" else {}
        source = node.input_value(0).get_node().get_friendly_name()
        if source not in (P2, P3) or tuple(how.get(k) for k in ("sampling_ratio", "mode", "aligned_mode")) != (0, "avg", "asymmetric"):
            raise BundleError(f"{node.get_friendly_name()} pools in another way than this runtime does")
        n, c, height, width = node.output(0).get_shape()
        pools.append(Pool(source, how["spatial_scale"], slice(channels, channels + c)))
        channels += c
    if not pools:
        raise BundleError("nothing pools regions in it")
    pooled = op.parameter((n, height, width, channels), np.float32)
    pooled.output(0).get_tensor().set_names({POOLED})
    _channels_last(joint.output(0), pooled.output(0))
    return openvino.Model(model.get_results(), [pooled], "attributes"), tuple(pools)


def _channels_last(planes: Any, numbers: Any, backwards: bool = False) -> None:
    """Puts `numbers` (n, H, W, C) in the place of the output `planes` (n, C, H, W), up to the convolution that reads it.

    The turn comes behind all that is done to each number alone (quantising): there OpenVINO needs no time for it, since that is how it
    computes; before, it turns whole maps. backwards: the channels are in reverse order, and so become the weights'.
    """
    from openvino import opset13 as op

    (reader,) = planes.get_target_inputs()
    planes.replace(numbers)
    while reader.get_node().get_type_name() in ("FakeQuantize", "Convert", "Subtract", "Multiply"):
        output = reader.get_node().output(0)
        if any(np.prod(reader.get_node().input_value(i).get_shape()) > 1 for i in range(1, reader.get_node().get_input_size())):
            break
        numbers = output
        (reader,) = output.get_target_inputs()
    turned = op.transpose(numbers, np.array(_TO_NCHW))
    if backwards and reader.get_node().get_type_name() == "Convolution":
        _reverse_input_channels(reader.get_node())
    elif backwards:
        turned = op.gather(turned, np.arange(numbers.get_shape()[3])[::-1].copy(), np.int64(1))
    reader.replace_source_output(turned.output(0))


def _reverse_input_channels(convolution: Any) -> None:
    """Exchanges first and last input channel of its weights where they are stored, so that they may still be in 8 bits."""
    from openvino import opset13 as op

    user = convolution.input(1)
    while user.get_source_output().get_node().get_type_name() != "Constant":
        user = user.get_source_output().get_node().input(0)
    stored = user.get_source_output().get_node()
    user.replace_source_output(op.constant(np.ascontiguousarray(stored.get_data()[:, ::-1])).output(0))


def _chain_to(node: Any, kinds: tuple[str, ...]) -> list[Any]:
    """This node and those before it by their first inputs, where they are of these kinds; else nothing."""
    chain: list[Any] = []
    for kind in kinds:
        if node is None or node.get_type_name() != kind:
            return []
        chain.append(node)
        node = node.input_value(0).get_node() if node.get_input_size() else None
    return chain
