# SPDX-License-Identifier: Apache-2.0

"""The admin's document in formats that are not HTML."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import json
from typing import Any, TYPE_CHECKING

from healthcheck.admin.views import fleetformats
from healthcheck.admin.views import plain

if TYPE_CHECKING:
    from healthcheck.admin.views import detail

    Document = detail.Document

_SHOWN_TRANSITIONS = 5

_FEW = 20
"""With more components than this, a terminal only lists those not passing."""

WORDS = ('fail', 'warn', 'unknown', 'pass', 'disabled')
"""The words for components, in the order that an admin wants to see."""


def to_json(document: Document) -> str:
    return json.dumps(document, indent=2)


def to_health_json(document: Document) -> str:
    """The document in the form of draft-inadarei-api-health-check-06.

    Each check is an array: the check itself, then its components. Fields that
    the draft does not define keep the name of our JSON; section 3 allows that.
    """
    body = {key: value for key, value in document.items()
            if key not in ('reason', 'checks', 'switches')}
    if document['status'] != 'pass':
        body['output'] = document['reason']
    body['checks'] = {
        **{check['name']: [_health_check(check), *(
            _health_object(each, check['judged']['time'])
            for each in check['components'])]
           for check in document['checks']},
        **{switch['name']: [_health_object(switch, None)]
           for switch in document['switches']}}
    return json.dumps(body)


def _health_check(check: Document) -> Document:
    taken = ('name', 'status', 'reason', 'detail', 'judged',
             'latency_seconds', 'components')
    return {**_measured(check, check['judged']['time']),
            'age_seconds': check['judged']['age_seconds'],
            **{key: value for key, value in check.items()
               if key not in taken}}


def _health_object(component: Document, time: str | None) -> Document:
    """A component, or a check that is read per request.

    :param time: of the reading
    """
    found = {'componentId': component['name'], **_measured(component, time)}
    if component.get('since'):
        found['since'] = component['since']
    if component.get('disabled'):
        found['disabled'] = True
    return found


def _measured(of: Document, time: str | None) -> Document:
    found: Document = {}
    # The draft has no word for an unknown status.
    if of['status'] is not None:
        found['status'] = of['status']
    if of['status'] != 'pass':
        found['output'] = ': '.join(filter(None, (of['reason'],
                                                  of.get('detail'))))
    if of.get('latency_seconds') is not None:
        found |= {'observedValue': of['latency_seconds'],
                  'observedUnit': 's'}
    if time is not None:
        found['time'] = time
    return found


def to_text(document: Document) -> str:
    """Plain text for a terminal, without control characters."""
    return plain.printable(_lines(document))


def headline(document: Document) -> str:
    """The line that says whether the node is out, and since when."""
    where = 'out of' if document['status'] == 'fail' else 'in'
    since = document['since']
    text = f'This node is {where} the balancer'
    if document['status'] == 'warn':
        text += ', with a warning'
    if since:
        text += f' since {plain.clock(since["time"], document["time"])}'
    return text


def stand_in(check: Document) -> str:
    """What traffic showed in place of the last probe."""
    traffic = check['traffic']
    many = traffic['calls'] != 1
    return (f'{traffic["calls"]:,} call{"s" * many} of the service that '
            f'worked, the last {plain.ago(traffic["age_seconds"])}')


def sighting(seen: Document) -> str:
    """How a balancer sees this node."""
    words = [f'{seen["server"]} {seen["state"]}',
             f'weight {seen["weight"]} of {seen["usable_weight"]}']
    if seen['last']:
        words.append('no other server is usable')
    if seen['held']:
        words.append('this node stays in although it fails')
    return '; '.join([*words, plain.ago(seen['seen']['age_seconds'])])


def worst_first(components: Iterable[Document]) -> list[Document]:
    """In the order that an admin wants to see."""
    return sorted(components, key=lambda each: (WORDS.index(word(each)),
                                                each['name']))


def word(component: Document) -> str:
    """Its status, or why it has none."""
    if component['disabled']:
        return 'disabled'
    status: str | None = component['status']
    return status or 'unknown'


def why(component: Document) -> str:
    """Its reason, if that says more than its word."""
    reason: str = component['reason']
    told = word(component)
    return '' if told == 'pass' or told == reason.lower() else reason


def count(components: Iterable[Document]) -> dict[str, int]:
    """How many of them have each word, in the order of words."""
    found = dict.fromkeys(WORDS, 0)
    for component in components:
        found[word(component)] += 1
    return found


def _lines(document: Document) -> Iterator[str]:
    yield f'{headline(document)}: {document["reason"]}'
    yield f'Seen at {plain.clock(document["time"])}' + ''.join(
        f'; probed by process {prober["pid"]} ({prober["program"]}) '
        f'of {prober["host"]}, answered by {document["answered_by"]["pid"]}'
        for prober in [document['prober']] if prober)
    yield from map(_drained, document['drains'])
    yield ''
    yield from plain.table([
        ('CHECK', 'STATUS', 'FOR', 'IN A ROW', 'LATENCY', 'AGE', 'NEXT',
         'REASON'),
        *(_row(check) for check in document['checks']),
        *((switch['name'], switch['status'].upper(), '', '', '', '', '',
           switch['reason']) for switch in document['switches'])])
    for seen in document['balancers']:
        yield f'Balancer {seen["balancer"]}: {sighting(seen)}'
    if document.get('fleet'):
        yield fleetformats.brief(document['fleet'])
    for check in document['checks']:
        yield from _about(check)


def _drained(drain: Document) -> str:
    whose = ('This service' if drain['scope'] == 'service'
             else 'All services of this host')
    end = drain['ends']
    until = f'until {plain.clock(end["time"])}' if end else 'without an end'
    return (f'{whose}: drained since {plain.clock(drain["since"]["time"])}, '
            f'{until}, by {drain["by"] or "somebody"}: '
            f'{drain["reason"] or "no reason given"}')


def _row(check: Document) -> tuple[str, ...]:
    fails, passes = check['fails_in_row'], check['passes_in_row']
    running = check['running_seconds']
    notes = [note for note, holds in (
        ('stale', check['stale']), ('not critical', not check['critical']),
        ('of this worker', check['per_worker']),
        ('by traffic', check['traffic'])) if holds]
    return (check['name'], check['status'].upper(),
            _span(check['since'] and check['since']['age_seconds']),
            f'{fails} failed' if fails else f'{passes} passed',
            _span(check['latency_seconds']),
            _span(check['judged']['age_seconds']),
            f'running {plain.span(running)}' if running is not None
            else _span(check['next_probe']
                       and check['next_probe']['in_seconds']),
            check['reason'] + (f' ({", ".join(notes)})' if notes else ''))


def _about(check: Document) -> Iterator[str]:
    """What does not fit into a row."""
    failure = check['last_failure']
    lines = []
    if check['detail']:
        lines.append(f'now: {check["detail"]}')
    if check['advice']:
        lines.append(f'what to check: {check["advice"]}')
    if check['traffic']:
        lines.append(f'in place of the last probe: {stand_in(check)}')
    if failure:
        lines.append(f'last failure: {_event(failure)}')
    latest = check['transitions'][-_SHOWN_TRANSITIONS:]
    lines += [_event(each) for each in reversed(latest)]
    lines += parts(check['components'])
    if lines:
        yield ''
        yield check['name']
        yield from (f'  {line}' for line in lines)


def parts(components: Sequence[Document]) -> Iterator[str]:
    """Those that do not pass; if there are few, also the others."""
    for each in worst_first(components):
        told = word(each)
        if told != 'pass' or each['detail'] and len(components) <= _FEW:
            yield f'{told.upper():8} ' + ': '.join(
                filter(None, (each['name'], why(each), each['detail'])))
    if components:
        yield f'{len(components)} in all: ' + ', '.join(
            f'{number} {told}' for told, number
            in count(components).items() if number)


def _event(event: Document) -> str:
    said = event['reason'] + (
        f' ({event["detail"]})' if event['detail'] else '')
    if event['cause'] != 'probe':
        said += f', set off by {event["cause"]}'
    return f'{plain.clock(event["time"])}  {event["status"].upper():4}  {said}'


def _span(seconds: Any) -> str:
    return '-' if seconds is None else plain.span(seconds)
