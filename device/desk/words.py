"""Words that the desk hands on and the record keeps, in English; they are translated where they are shown."""

from __future__ import annotations

from device.language import N_

REASONS = (N_("poor film"), N_("wrong slide"), N_("to be repeated"))
"""Why a slide is aborted, besides words of a person's own."""
