"""What can go wrong on the way to the broker: refused (somebody must mend something) or lost (it is tried again)."""

from __future__ import annotations

from device.errors import BrokerError


class BrokerRefusedError(BrokerError):
    """The broker said no, or credentials and certificates cannot be used. Somebody must mend the configuration or the broker."""


class ProtocolRefusedError(BrokerRefusedError):
    """The broker does not speak this version of MQTT. Set `broker.protocol` to "auto" or to the other one."""


class RetainRefusedError(BrokerRefusedError):
    """The broker keeps no messages (`retain_available false`), and so takes no last will that it should keep. Connect without."""


class BrokerLostError(BrokerError):
    """The broker cannot be reached, or the connection broke. It is tried again; check network, host and port."""


class NoAnswerError(BrokerLostError):
    """The broker said neither yes nor no: hung up or kept silent. Old brokers do that to MQTT 5, and so does what is no broker."""


class HungUpError(NoAnswerError):
    """It hung up on the first packet without a word."""


class NotSendableError(BrokerError):
    """A message that no broker could take: its topic or its content is damaged. It belongs into quarantine."""
