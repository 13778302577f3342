# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Plugin ``message_queue``: can the service send messages?"""

from __future__ import annotations

from healthcheck import config
from healthcheck import exceptions
from healthcheck import messaging
from healthcheck.plugins import connected
from healthcheck.plugins import queue_target


class MessageQueue(connected.ConnectedPlugin):
    """Probes the service's message queue over one transport of its own."""

    name = 'message_queue'

    def set_up(self) -> None:
        option, url_text = self._find_url()
        messaging.note(self.view)
        self.target = queue_target.QueueTarget(
            self.view.private, url_text, option=option,
            bound=self.settings.timeout)

    def _find_url(self) -> tuple[str, str]:
        """(name of the option, URL)

        :raises exceptions.ConfigError: if none is set
        """
        own = self.settings.message_queue_transport_url
        if own:
            return 'message_queue_transport_url', own
        url = config.service_option(self.view, None, 'transport_url')
        if not url or url == 'rabbit://':  # oslo.messaging's default
            raise exceptions.ConfigError([
                'message_queue: there is no message queue to probe; set '
                'transport_url of the service, or '
                'message_queue_transport_url'])
        self.view.note('message_queue', url)
        return 'transport_url', url
