# SPDX-License-Identifier: Apache-2.0

"""Plugin ``message_queue``: can the service send messages?"""

from __future__ import annotations

from typing import Any

from healthcheck.config import messaging
from healthcheck.config import views
from healthcheck import exceptions
from healthcheck.plugins import base
from healthcheck.probing import check
from healthcheck.targets import connected
from healthcheck.targets import queue_target


class MessageQueue(base.ProbePlugin):
    """Probes the service's message queue over one transport of its own."""

    name = 'message_queue'

    def set_up(self) -> None:
        option, url_text = self._find_url()
        messaging.note(self.view)
        self._target = queue_target.QueueTarget(
            self.view.private, url_text, option=option,
            bound=self.view.settings.timeout * connected.BOUND)

    def check(self, name: str, common: dict[str, Any]) -> check.Check:
        return check.Single(name, self._target, self.policy,
                            label=self.label)

    def _find_url(self) -> tuple[str, str]:
        """(name of the option, URL)

        :raises exceptions.ConfigError: if none is set
        """
        own = self.view.settings.message_queue_transport_url
        if own:
            return 'message_queue_transport_url', own
        url = views.service_option(self.view, None, 'transport_url')
        if not url or url == 'rabbit://':  # oslo.messaging's default
            raise exceptions.ConfigError([
                'message_queue: there is no message queue to probe; set '
                'transport_url of the service, or '
                'message_queue_transport_url'])
        self.view.note('message_queue', url)
        return 'transport_url', url
