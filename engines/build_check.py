"""An attribute graph from its pooled regions on, so that a machine without a GPU can have the rest of it parsed and compiled.

TensorRT's RoiAlign is a plugin that asks for the device while the graph is parsed. Nothing of this runs on a box: it needs `onnx`.
"""

from __future__ import annotations

ROI_ALIGN = "RoiAlign"


def behind_roi_align(graph: bytes) -> bytes:
    """The serialised graph with what its RoiAlign nodes give as its inputs; outputs, names and types as before.

    Raises ValueError for a graph without one, or one whose shapes or types cannot be told.
    """
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(graph), check_type=True, strict_mode=True)
    pooled = [node.output[0] for node in model.graph.node if node.op_type == ROI_ALIGN]
    known = {value.name: value for value in model.graph.value_info}
    if not pooled or not known.keys() >= set(pooled):
        raise ValueError(f"no {ROI_ALIGN} whose output has a known shape")
    kept, wanted = list[onnx.NodeProto](), {output.name for output in model.graph.output}
    for node in reversed(model.graph.node):
        if node.op_type != ROI_ALIGN and wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    inputs = [known[name] for name in pooled] + [value for value in model.graph.input if value.name in wanted]
    weights = [weight for weight in model.graph.initializer if weight.name in wanted]
    del model.graph.node[:], model.graph.input[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(reversed(kept))
    model.graph.input.extend(inputs)
    model.graph.initializer.extend(weights)
    onnx.checker.check_model(model, full_check=True)
    cut: bytes = model.SerializeToString()
    return cut
