"""Puts what a gate measured into the manifest of the bundle that was judged, the bundle written anew as a whole."""

from __future__ import annotations

import os

from engines.bundle import MANIFEST, Bundle, write_bundle
from engines.errors import BundleError
from engines.manifest import GateRecord


def check_recordable(bundle: Bundle) -> None:
    """Raises BundleError, before anything is measured, for a bundle that could not be written anew."""
    folder = bundle.path.resolve()
    inner = next((p for p in sorted(folder.iterdir()) if p.is_dir()), None)
    if inner is not None:
        raise BundleError(f"{inner}: a bundle holds no folders, and this one would be lost. Move it out first.")
    if not os.access(folder.parent, os.W_OK):
        raise BundleError(f"{folder}: its folder cannot be written to, so the record cannot be kept. Copy the bundle elsewhere first.")


def write_record(bundle: Bundle, record: GateRecord) -> Bundle:
    """The bundle with `record` in its manifest, and so with another digest; every other file stays as it is, the card too.

    Raises BundleError when the bundle was changed since it was opened, or cannot be written.
    """
    folder = bundle.path.resolve()
    if Bundle.open(folder).digest != bundle.digest:
        raise BundleError(f"{folder}: was changed while it was being judged. Judge it again.")
    manifest = bundle.manifest.model_copy(update={"gate": record.model_copy(update={"subject": bundle.manifest.subject})})
    loose = {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in {MANIFEST, *bundle.manifest.files}}
    files = {name: folder / name for name in bundle.manifest.files}
    return write_bundle(folder, manifest, files, replace=True, loose=loose)
