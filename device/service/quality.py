"""`leukoscope qc`: the known slide of the day, from the record."""

from __future__ import annotations

from datetime import datetime, timezone

from device.errors import ConfigError
from device.settings.config import Config
from device.slide.model import OPEN_STATES
from device.slide.tally import tally
from device.store import Store
from device.store.checks import Check
from device.store.quality import CHECK, REFERENCE, passed_on, reference_of

_SHOWN = 10


def show(config: Config) -> tuple[str, bool]:
    """The newest checks in words, and whether one was passed today. Raises ConfigError where no known slide is configured."""
    _specimen(config)
    with Store.read(config.record_path) as store:
        checks, references = store.checks(CHECK, _SHOWN), store.checks(REFERENCE, 1)
    passed = passed_on(checks, datetime.now(timezone.utc).date())
    lines = ["passed today" if passed else "none passed today: count the known slide, and finish it"]
    lines.append(f"reference: slide {references[0].slide_id}" if references else "no reference yet: leukoscope qc reference SLIDE")
    for check in checks:
        said = "; ".join(check.result.get("faults", ())) or f"{check.result.get('white_cells')} cells"
        lines.append(f"{check.at:%Y-%m-%d %H:%M} UTC  {'passed' if check.passed else 'FAILED'}  {check.slide_id}  {said}")
    return "\n".join(lines), passed


def make_reference(config: Config, slide_id: str) -> str:
    """Keep a slide's count as what later ones are compared with; what was done. Raises ConfigError for a slide that cannot be it."""
    specimen = _specimen(config)
    with Store.connect(config.record_path) as store:
        stored = store.slide(slide_id)
        slide, taxonomy = stored.slide, stored.provenance.model.taxonomy
        if slide.specimen != specimen:
            raise ConfigError(f"slide {slide_id} is not of the specimen that quality.specimen names; count the known slide first")
        counted = tally(slide, taxonomy)
        if slide.state in OPEN_STATES or counted.white_cells < config.quality.fewest_cells:
            few = f"{counted.white_cells} cells, at least {config.quality.fewest_cells} are needed"
            raise ConfigError(f"slide {slide_id} cannot be the reference: {slide.state.value}, {few}")
        store.put_check(Check(datetime.now(timezone.utc), slide_id, True, reference_of(slide, counted)))
    return f"slide {slide_id} is the reference: {counted.white_cells} cells in {len(slide.fields)} fields"


def _specimen(config: Config) -> str:
    if config.quality.specimen is None:
        raise ConfigError("no known slide is configured; set quality.specimen to the specimen id on its label")
    return config.quality.specimen
