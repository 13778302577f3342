# SPDX-License-Identifier: Apache-2.0

"""Explains a configuration: where values come from, and its timing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from oslo_config import cfg

from healthcheck.config import opts
from healthcheck.config import reading
from healthcheck.config import redact
from healthcheck.config import views
from healthcheck.host import sharing
from healthcheck.probing import policy as policy_module
from healthcheck.serving import door as door_module


class Effective(NamedTuple):
    """A value in use that is no default, without secrets.

    :param place: the file, section or variable that sets it
    """

    option: str
    value: str
    place: str


class Shared(NamedTuple):
    """The directory in which processes share a report, and its name."""

    directory: str
    name: str


def shared(door: door_module.Door) -> Shared | None:
    """None if each process probes for itself. Creates nothing."""
    if door.group is None:
        return None
    return Shared(str(sharing.Sharing(door.group).directory.path),
                  door.group.key)


def files(door: door_module.Door) -> list[str]:
    """The files that were read; the last one wins."""
    return reading.files(door.view.service)


def options(view: views.View, section: str) -> Iterator[Effective]:
    """The options of ``[healthcheck]`` that are set.

    :param section: the name of the section of a paste file
    """
    values = vars(view.healthcheck)
    for name, opt in sorted(view.options.items()):
        if name in view.section:
            place = section
        else:
            where = reading.option(reading.Private(view.service), opts.GROUP,
                                   opt)[1]
            if not reading.is_configured(where):
                continue
            place = _place(where)
        value = values[name]
        if isinstance(value, (list, tuple)):
            value = ','.join(map(str, value))
        yield Effective(f'[{opts.GROUP}]{name}',
                        _shown(name, str(value), opt.secret), place)


def of_the_service(view: views.View) -> Iterator[Effective]:
    """The service's own options that the checks use."""
    for name, value in sorted(view.notes.items()):
        group, bracket, option = name.removeprefix('[').partition(']')
        if not bracket:
            continue  # derived from an option
        where = reading.text(
            view.service, None if group == 'DEFAULT' else group, option)[1]
        yield Effective(name, _shown(option, value), _place(where))


def _shown(name: str, value: str, secret: bool = False) -> str:
    if '://' in value:
        return redact.Redactor(value)(value)
    if secret:
        return redact.MASK
    # The name may say that the value is a password.
    return redact.Redactor()(f'{name} = {value}').removeprefix(f'{name} = ')


def _place(where: cfg.LocationInfo | None) -> str:
    if where is None:
        return 'set in code'
    if where.location is cfg.Locations.environment:
        return f'${where.detail}'
    if where.location is cfg.Locations.user:
        return str(where.detail)
    return str(where.location.name).replace('_', ' ')


def formula(policy: policy_module.Policy) -> str:
    """How ``policy.detection`` is calculated."""
    return (f'max({policy.interval:g} * (1 + {policy.jitter:g}), '
            f'{policy.timeout:g}) + {policy.timeout:g} + '
            f'({policy.fall} - 1) * ({policy.retry_interval:g} + '
            f'{policy.timeout:g})')


class Balancer(NamedTuple):
    """How a load balancer polls. ``inter`` is in seconds."""

    inter: float
    fall: int
    rise: int

    @property
    def leaves(self) -> float:
        """Seconds from our first 503 until it sends no more requests."""
        return self.inter * self.fall

    @property
    def comes_back(self) -> float:
        """Seconds from our first 200 until it sends requests again."""
        return self.inter * self.rise

    def warnings(self, policy: policy_module.Policy) -> Iterator[str]:
        """The settings that make the balancer slower than the checks."""
        if self.leaves > policy.detection:
            yield (f'the balancer needs {self.leaves:g} s more (inter * fall) '
                   f'to take a node out, longer than the checks take. They '
                   f'have already confirmed the failure, so lower inter, or '
                   f'set fall to 1 or 2')
        if self.comes_back > policy.recovery:
            yield (f'the balancer needs {self.comes_back:g} s more (inter * '
                   f'rise) to take a node back, longer than the checks take: '
                   f'lower inter or rise')


def timing(policy: policy_module.Policy,
           balancer: Balancer | None) -> dict[str, Any]:
    """The longest times until a fault has an effect, in seconds."""
    found = {'reported_within': round(policy.detection, 3),
             'formula': formula(policy),
             'recovered_within': round(policy.recovery, 3)}
    if balancer is not None:
        found |= {'out_within': round(
            policy.detection + balancer.leaves, 3),
            'back_within': round(policy.recovery + balancer.comes_back, 3)}
    return found
