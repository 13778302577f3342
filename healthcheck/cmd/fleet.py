# SPDX-License-Identifier: Apache-2.0

"""``healthcheck status --fleet``: what one node knows of all.

It imports no library of OpenStack, as :mod:`healthcheck.cmd.nodes`.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import http.client
import json
import time
from typing import Any

from healthcheck.admin.views import fleetformats
from healthcheck.admin.views import plain
from healthcheck.cmd import nodes
from healthcheck.cmd import output

_FEW = 5
"""Nodes that a line for a monitoring plugin names at most."""

_NOTES = {
    401: ': it needs a token, see OS_TOKEN',
    403: ': the token does not have the right',
    404: ': the node has no fleet_url, or shows its fleet to nobody'}

_OTHER_RELEASE = 'NOT A FLEET OF THIS RELEASE'


def ask(places: Sequence[nodes.Place],
        asking: nodes.Asking) -> list[nodes.Reply]:
    """The reply of the first node that shows its fleet, else of the first.

    Of a node that shows none, nothing follows for the fleet: it is unknown.
    """
    replies = []
    for place in places:
        (reply,) = nodes.ask_all([place], asking, ask_one)
        if reply.detail is not None:
            return [reply]
        replies.append(reply._replace(status=output.UNKNOWN))
    return replies[:1]


def ask_one(place: nodes.Place, asking: nodes.Asking) -> nodes.Reply:
    """Ask a node; raises nothing.

    The document is ``detail`` of the reply, or None.
    """
    began = time.monotonic()
    try:
        code, body = place.get(nodes.FLEET, nodes.JSON, asking)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        return nodes.unreachable(place, exc)
    document = nodes.parsed(body)
    if code == 200 and 'nodes' in document:
        return nodes.Reply(
            place.name, nodes.word_of(document, output.UNKNOWN), 'OK', (),
            time.monotonic() - began, document)
    return nodes.Reply(place.name, output.UNKNOWN, 'NO FLEET',
                       note=f'HTTP status {code}' + _NOTES.get(code, ''))


def shown(reply: nodes.Reply, wanted: str) -> str:
    """The fleet in one of the formats."""
    if wanted == output.JSON:
        return json.dumps({
            'status': reply.status, 'node': reply.node,
            'reason': reply.reason, 'note': reply.note,
            'latency_seconds': reply.latency and round(reply.latency, 4),
            'fleet': reply.detail}, indent=2)
    if wanted == output.LINE:
        return _known(reply, _line) or output.plugin_line(
            reply.status, f'{reply.node}: {_why(reply)}', {})
    return _known(reply, fleetformats.to_text).rstrip('\n') or (
        f'{reply.node}  {reply.status.upper()}  {_why(reply)}')


def _known(reply: nodes.Reply,
           make: Callable[[dict[str, Any]], str]) -> str:
    """The text that is made of a fleet; empty if there is none."""
    try:
        return make(reply.detail) if reply.detail is not None else ''
    except (KeyError, TypeError, ValueError, AttributeError):
        return ''  # the node's release may have a different document


def _why(reply: nodes.Reply) -> str:
    if reply.detail is not None:
        return _OTHER_RELEASE
    return reply.reason + (f' ({reply.note})' if reply.note else '')


def _line(document: dict[str, Any]) -> str:
    wrong = [node for node in document['nodes']
             if node['odd'] or node['state'] != 'in']
    text = fleetformats.headline(document)
    told = [f'{node["node"]}: {fleetformats.reason(node)}'
            for node in wrong[:_FEW]]
    if len(wrong) > _FEW:
        told.append(f'{len(wrong) - _FEW:,} more')
    told += filter(None, [fleetformats.trouble(document)])
    if told:
        text += f': {"; ".join(told)}'
    return output.plugin_line(
        document['status'], plain.printable([text]).rstrip('\n'),
        {state: str(number) for state, number in document['states'].items()})
