"""What can go wrong with data, bundles and runtimes, each type with the advice its reader needs. No logic lives here."""

from __future__ import annotations


class EnginesError(Exception):
    """Root of every error that a person can do something about; the message names the file or key and the next step."""

    exit_code = 2


class DataError(EnginesError):
    """A data set cannot be read: missing folder, unreadable label, impossible box. Fix the named file or point elsewhere."""


class BundleError(EnginesError):
    """An engine folder is missing, incomplete or altered. Copy it again, or export it again with `attridet export`."""


class RuntimeUnavailableError(EnginesError):
    """The asked-for runtime is not installed or finds no device. Install the named extra or choose another runtime."""


class InferenceError(EnginesError):
    """The runtime failed on a frame; the message carries the runtime's own words. The daemon reports it and goes on."""

    exit_code = 1


class BuildError(EnginesError):
    """A graph cannot be compiled for this device; the message carries the compiler's last lines. Send them with the bundle's name."""

    exit_code = 1


class DeviceLostError(EnginesError):
    """The GPU faulted and answers nothing in this process any more. The process ends, and systemd starts it anew."""

    exit_code = 1
