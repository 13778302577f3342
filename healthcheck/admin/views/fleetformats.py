# SPDX-License-Identifier: Apache-2.0

"""The document on a fleet in words, for a terminal and for its page.

``healthcheck status --fleet`` prints it, too, so nothing here imports a
library of OpenStack.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from healthcheck.admin.views import plain

Document = dict[str, Any]

KINDS = {'in': 'pass', 'warns': 'warn', 'held': 'warn', 'drained': 'disabled',
         'out': 'fail', 'unknown': 'unknown'}
"""The colour and the shape of each state."""

SPREADS = {'everywhere': ('fail', 'everywhere'), 'some': ('warn', 'some'),
           'one': ('warn', 'one node'), 'nowhere': ('pass', 'nowhere')}
"""The same for where a check fails, and the words for that."""

_NAMES = 10
"""Names of nodes in one line at most."""

_DIGITS = 8
"""Of the digest of a target: enough to tell a few apart."""


def to_text(document: Document) -> str:
    """Plain text for a terminal, without control characters."""
    return plain.printable(_lines(document))


def headline(document: Document) -> str:
    """How many nodes there are, and in which states."""
    total = sum(document['states'].values())
    if not total:
        return f'Fleet {document["group"]}'
    return (f'Fleet {document["group"]} has {counted(total, "node")}, '
            + states(document))


def states(document: Document) -> str:
    """The number of nodes by state, the states that matter first."""
    return ', '.join(f'{number} {state}' for state, number
                     in document['states'].items() if number)


def finding(document: Document) -> str:
    """What an admin should look at first."""
    alone = [node['node'] for node in document['nodes'] if node['odd']]
    if alone:
        return f'Unlike the others: {_named(alone)}'
    everywhere = [check['name'] for check in document['checks']
                  if check['spread'] == 'everywhere']
    if everywhere:
        return f'Fails on every node: {", ".join(everywhere)}'
    if not document['nodes']:
        return 'No node is known yet.'
    if document['states']['unknown'] == len(document['nodes']):
        return 'It is not known how they are.'
    return ('Every node is in.' if document['status'] == 'pass'
            else 'No node is unlike the others.')


def counted(number: int, noun: str) -> str:
    return f'{number:,} {noun}{"s" * (number != 1)}'


def trouble(document: Document) -> str:
    """What is wrong with what is known of the fleet; empty if nothing.

    Also for what the document on a node says of its fleet.
    """
    store, read = document['store'], document['read']
    if store['trouble']:
        return f'The store cannot be used: {store["trouble"]}'
    if store['usable']:
        return ''
    if read is None:
        return 'Nothing is known of the fleet yet'
    return (f'Nothing has been read from the store for '
            f'{plain.span(read["age_seconds"])}')


def read(document: Document) -> str:
    """How old all of this is."""
    at = document['read']
    return ('the store has not been read yet' if at is None else
            f'the store was read {plain.ago(at["age_seconds"])}')


def brief(document: Document) -> str:
    """The line on the fleet in the document on a node."""
    wrong = trouble(document)
    return headline(document) + (f'. {wrong}' if wrong
                                 else f'; {read(document)}')


def reason(node: Document) -> str:
    """Why a node is in its state, and in what it differs from the others."""
    if not node['odd']:
        return str(node['reason'])
    return f'{node["reason"]} ({odd(node)})'


def odd(node: Document) -> str:
    return f'unlike the others: {", ".join(node["odd"])}'


def fails_on(check: Document) -> str:
    """On how many of its nodes a check fails."""
    return (f'{check["failing"]:,} of {counted(check["nodes"], "node")}')


def where(check: Document) -> str:
    """The nodes on which a check fails, or the few on which it does not."""
    fails, passes = check['failing_on'], check['passing_on']
    if check['other_target']:
        told = f'another target than most nodes, on {_named(fails + passes)}'
        return told + (f'; fails on {_named(fails)}' if fails else '')
    if check['spread'] == 'nowhere':
        return ''
    if check['spread'] == 'everywhere':
        return 'on every node'
    return (f'only on {_named(fails)}' if len(fails) <= len(passes)
            else f'not on {_named(passes)}')


def _named(nodes: list[str]) -> str:
    more = len(nodes) - _NAMES
    return ', '.join(nodes[:_NAMES]) + (f' and {more:,} more' if more > 0
                                        else '')


def target(check: Document) -> str:
    """Enough of its digest to tell the targets of a fleet apart."""
    return str(check['target'])[:_DIGITS]


def _lines(document: Document) -> Iterator[str]:
    yield f'{headline(document)}: {finding(document)}'
    yield (f'Seen at {plain.clock(document["time"])} by '
           f'{document["node"]}; {read(document)}')
    wrong = trouble(document)
    if wrong:
        yield f'WARNING: {wrong}'
    if document['nodes']:
        yield ''
        yield from plain.table([
            ('NODE', 'STATE', 'FOR', 'RECORD', 'VERSION', 'REASON'),
            *map(_row, document['nodes'])])
    if document['checks']:
        yield ''
        yield from plain.table([
            ('CHECK', 'FAILS ON', 'TARGET', 'WHERE', 'REASON'),
            *((check['name'], fails_on(check), target(check),
               where(check) or '-', '; '.join(check['reasons']))
              for check in document['checks'])])


def _row(node: Document) -> tuple[str, ...]:
    return (node['node'], node['state'].upper(), _age(node['since']),
            _age(node['record']), node['version'] or '-', reason(node))


def _age(moment: Document | None) -> str:
    return '-' if moment is None else plain.span(moment['age_seconds'])
