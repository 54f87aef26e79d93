"""What the device hears from the broker: receipts of receivers and requests, each on a topic of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from device.mqtt.client import Incoming, Link
from device.mqtt.faults import BrokerRefusedError, NotSendableError
from device.mqtt.message import PayloadError, one_line
from device.mqtt.receipt import Receipt, read_receipt
from device.mqtt.topics import Topics

log = logging.getLogger(__name__)

_LARGEST_BYTES: Final = 1 << 16  # of a request or a receipt


class Listening:
    """Subscribes at each connection and reads what comes. Of the publisher's thread.

    needed: without receipts nothing would be delivered. complaint: the broker lets us hear none although they are needed.
    """

    def __init__(self, topics: Topics, commands: Callable[[Incoming], bytes | None] | None, needed: bool) -> None:
        self.complaint = ""
        self._topics, self._commands, self._needed = topics, commands, needed
        self._told: set[str] = set()

    def begin(self, link: Link) -> None:
        """A new connection. Requests are asked for at QoS 0: one that came while the device was away is not carried out later."""
        self.complaint = ""
        link.ask_for([(self._topics.receipt, 1), (self._topics.cmd_any, 0)])

    def granted(self, link: Link) -> None:
        """Take in the broker's answer. A right that is missing is told once and does not stop the sending."""
        for refused in link.refused_filters():
            if self._needed and self._topics.receipt in refused:
                self.complaint = refused
            elif refused not in self._told:
                log.warning("%s; summaries are sent all the same", refused)
                self._told.add(refused)

    def take(self, link: Link, incoming: Incoming) -> Receipt | None:
        """One message: a receipt is returned, a request is answered. What is no good is told once and dropped."""
        if len(incoming.payload) > _LARGEST_BYTES:
            self._tell_once(f"{one_line(incoming.topic)}: {len(incoming.payload)} bytes, more than any receipt or request has; dropped")
            return None
        if incoming.topic == self._topics.receipt:
            return self._receipt(incoming)
        if incoming.topic != self._topics.cmd_answer and not incoming.retained:  # our own answers match the filter of requests
            self._answer(link, incoming)
        return None

    def _receipt(self, incoming: Incoming) -> Receipt | None:
        try:
            receipt = read_receipt(incoming.payload).payload
        except PayloadError as error:
            self._tell_once(f"a receipt was not understood: {one_line(str(error))}")
            return None
        if receipt.device_id != self._topics.device_id:
            self._tell_once(f"a receipt of {receipt.receiver} bears the device id {receipt.device_id}; dropped")
            return None
        return receipt

    def _answer(self, link: Link, incoming: Incoming) -> None:
        if self._commands is None:
            return
        topic = incoming.response_topic or self._topics.cmd_answer
        if not self._topics.takes_answers(topic):
            self._tell_once(f"a request wants its answer on {one_line(topic)}, which is no topic for answers; dropped")
            return
        try:
            answer = self._commands(incoming)
        except Exception as error:  # a request is written by others: it must not end the way to the broker
            log.exception("request %s failed: %s", one_line(incoming.topic), error)
            return
        if answer is None:
            return
        try:
            link.publish(topic, answer, correlation=incoming.correlation)
        except (BrokerRefusedError, NotSendableError) as error:
            self._tell_once(f"the answer to {one_line(incoming.topic)} cannot be sent: {one_line(str(error))}")

    def _tell_once(self, words: str) -> None:
        if words not in self._told and len(self._told) < 100:
            self._told.add(words)
            log.warning("%s", words)
