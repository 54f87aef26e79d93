"""The engine that the configuration names: its naming layer, and what it leaves "auto" chosen by measuring."""

from __future__ import annotations

import logging

from device.service.layers import chosen_layer
from device.settings.config import Config
from engines.runtime.choice import Asked, open_chosen
from engines.runtime.engine import BundleEngine
from engines.runtime.guarded import GuardedEngine, Limits
from engines.runtime.worker import Opener

log = logging.getLogger(__name__)


_LIVE_PATIENCE_S, _STORED_PATIENCE_S = 0.5, 10.0
"""How long a round waits for an engine that is being opened anew: keys shall be answered; and stored pictures shall not pass by
meanwhile, though the watchdog's time must not be used up either."""


def guarded_engine(opener: Opener, config: Config) -> GuardedEngine:
    """The engine that `opener` makes, with the configuration's deadline around it, not yet opened."""
    patience_s = _STORED_PATIENCE_S if config.camera.stored else _LIVE_PATIENCE_S
    deadline_s = config.engine.deadline_s
    return GuardedEngine(opener, Limits.of(deadline_s, min(patience_s, deadline_s)))


def open_configured(config: Config) -> BundleEngine:
    """The engine that the configuration names, not yet opened; what it leaves "auto" is chosen by measuring, at the first start.

    Raises BundleError, RuntimeUnavailableError.
    """

    def report(task: str, done: int, total: int) -> None:
        if done == 0 or not task.startswith("measuring"):
            log.info("choosing what runs the engine quickest here: %s (%d of %d)", task, done + 1, total)

    return open_chosen(asked(config), config.engine.score_threshold, chosen_layer(config), report)


def asked(config: Config) -> Asked:
    """The engine that the configuration asks for."""
    section, kept = config.engine, config.engine_choice_path
    return Asked(section.bundle, section.runtime, section.precision, section.threads, section.ungated, section.plans, kept)
