# SPDX-License-Identifier: Apache-2.0

"""The document on a fleet as a page for people."""

from __future__ import annotations

from healthcheck.admin.views import fleetformats
from healthcheck.admin.views import webpage

Document = fleetformats.Document


def render(document: Document, interval: float) -> str:
    """The page.

    :param interval: seconds between its updates
    """
    return webpage.render(
        'fleet.html', document, fleetformats.headline(document), interval,
        words=fleetformats, trouble=fleetformats.trouble(document),
        reason=fleetformats.finding(document))
