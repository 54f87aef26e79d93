"""The words of `leukoscope fleet-sim`: many simulated devices against a broker, to measure it and those who receive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from device.errors import LeukoscopeError
from device.options import Count

NotNegative = Annotated[float, Parameter(validator=Number(gte=0))]
Positive = Annotated[float, Parameter(validator=Number(gt=0))]
_MOST = 20_000


def fleet_sim(
    *,
    devices: Count = 20,
    host: str = "localhost",
    port: Annotated[int, Parameter(validator=Number(gte=1, lte=65535))] = 1883,
    username: str | None = None,
    password_file: Path | None = None,
    tls: bool = False,
    ca_file: Path | None = None,
    topic_root: str = "leukoscope",
    receiver: str = "supervisor",
    slides_per_hour: NotNegative = 4.0,
    minutes: NotNegative = 5.0,
    burst: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    status_seconds: NotNegative = 10.0,
    health_seconds: NotNegative = 60.0,
    connect_rate: Positive = 50.0,
    reconnect_max: Annotated[int, Parameter(validator=Number(gte=1, lte=3600))] = 60,
    settle_seconds: NotNegative = 60.0,
    processes: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    prefix: str = "sim",
    seed: int = 0,
    result: Path | None = None,
    samples: Path | None = None,
) -> None:
    """Simulate many devices with real connections; measures how long summaries take to the broker and to the receiver's receipt.

    Every device has what a box has between its outbox and the broker: a session, a last will, retained statuses, health, the pace of
    sending and of coming back. Counts are made up and every message says that it is simulated: keep it away from a ward's database.

    Args:
        devices: How many.
        host: The broker.
        port: Its port.
        username: For a broker that asks for one; the same for all devices.
        password_file: A file whose first line is the password.
        tls: Encrypt the connections.
        ca_file: Certificate of the authority that signed the broker's.
        topic_root: First part of the topics; another than the ward's keeps the two apart.
        receiver: Who must confirm a summary; '' for nobody: then the broker's word is enough.
        slides_per_hour: Of each device; 0: none but those of --burst.
        minutes: So long slides are made after the last device began.
        burst: Summaries that each device has waiting at the start, as after a day without a network.
        status_seconds: How often a device's status says something new.
        health_seconds: How often health is sent.
        connect_rate: Devices that begin in a second.
        reconnect_max: broker.reconnect_max_s of the devices.
        settle_seconds: How long receipts are waited for at the end.
        processes: Default: one for 250 devices.
        prefix: Of the device ids: sim-00001 and so on.
        seed: Of counts and moments.
        result: Write the figures to this file as JSON.
        samples: Write when each summary was made, sent, acknowledged and confirmed to this file as CSV.
    """
    import re

    from device.fleet.devices import files_for, room_for_files
    from device.fleet.simulate import Wish, simulate
    from device.settings.broker import RECEIVER
    from device.settings.config_file import broker_from_options

    if devices > _MOST:
        raise LeukoscopeError(f"--devices {devices}: at most {_MOST} from one machine, which has so many ports for one broker")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", prefix):
        raise LeukoscopeError(f"--prefix {prefix[:60]!r}: letters, digits, '-' and '_', at most 40")
    if receiver and not re.fullmatch(RECEIVER, receiver):
        raise LeukoscopeError(f"--receiver {receiver[:60]!r}: letters, digits and . _ -, at most 64, beginning with a letter or digit")
    for name, path in (("--result", result), ("--samples", samples)):
        if path is not None and not path.absolute().parent.is_dir():
            raise LeukoscopeError(f"{name} {path}: there is no such folder")
    section = broker_from_options(
        host=host, port=port, username=username, password_file=password_file, tls=tls, ca_file=ca_file, topic_root=topic_root
    )
    named = section.model_copy(update={"receivers": (receiver,) if receiver else (), "reconnect_max_s": reconnect_max})
    wish = Wish(
        section=named,
        devices=devices,
        slides_per_hour=slides_per_hour,
        minutes=minutes,
        burst=burst,
        status_s=status_seconds,
        health_s=health_seconds,
        connect_rate=connect_rate,
        settle_s=settle_seconds,
        processes=processes,
        prefix=prefix,
        seed=seed,
    )
    each = -(-devices // wish.process_count)
    if not room_for_files(files_for(each)):
        raise LeukoscopeError(f"{each} devices in a process need {files_for(each)} open files (ulimit -n); take more --processes")
    simulate(wish, result=result, samples=samples)
