"""The daemon's errors: few types, each with what a person can do about it. Messages name the file, key or device."""

from __future__ import annotations


class LeukoscopeError(Exception):
    """Root of what the daemon raises on purpose. `exit_code` is 2 where the person can mend it, 1 otherwise."""

    exit_code = 2


class ConfigError(LeukoscopeError):
    """The configuration cannot be used; the message gives file, line and key. Mend the line, then `leukoscope check-config`."""


class CameraError(LeukoscopeError):
    """The camera cannot be opened or gave no frame. The daemon retries; `leukoscope doctor` tells what is there."""


class CameraLostError(CameraError):
    """The device went away (unplugged, stream closed). Plug it in again: it is reopened without a restart."""


class EndOfSourceError(CameraError):
    """A stored source (folder, video) has no more pictures. Not a fault: the slide is finished."""

    exit_code = 0


class DisplayError(LeukoscopeError):
    """No window can be opened. Start a display server, or run with `--display none` or `--display file:DIR`."""


class StoreError(LeukoscopeError):
    """The record cannot be read or written (disk full, damaged, read-only). Nothing counted is dropped; free space, then it goes on."""


class BrokerError(LeukoscopeError):
    """The broker refuses or cannot be reached. Summaries wait in the outbox; check host, port and credentials."""
