"""`attridet export`."""

from __future__ import annotations

from engines.export import ExportRequest


def export(request: ExportRequest) -> None:
    """Turn weights into an engine folder: two ONNX graphs, verified against torch, with manifest and golden picture."""
    from engines.commands.terminal import Terminal
    from engines.export import export as run

    with Terminal() as terminal:
        bundle = run(request, terminal)
        check = bundle.manifest.export_check
        assert check is not None
        terminal.message(
            f"{bundle.path}: {bundle.manifest.name} {bundle.manifest.version}, digest {bundle.digest[:8]}. Against torch on "
            f"{check.images} pictures: boxes {check.boxes_px:.4f} px, scores {check.scores:.1e}, attributes {check.attributes:.1e}"
        )
