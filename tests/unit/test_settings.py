# SPDX-License-Identifier: Apache-2.0

"""The values of group ``[healthcheck]``, typed."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import pathlib
import re
import typing

from oslo_config import cfg
import pytest

from healthcheck.config import opts
from healthcheck.config import settings
from healthcheck.config import views
from tests.unit import settings as settings_of_tests

TYPES = {cfg.BoolOpt: bool, cfg.FloatOpt: float, cfg.IntOpt: int,
         cfg.StrOpt: str, cfg.ListOpt: Sequence[str]}


def typed(opt):
    kind = TYPES[type(opt)]
    return kind | None if opt.default is None else kind


def test_each_option_has_a_field_of_its_type_and_no_other():
    assert typing.get_type_hints(settings.Settings) == {
        opt.dest: typed(opt) for opt in opts.all_opts()}


def test_a_view_makes_them(conf):
    made = views.View(conf('[healthcheck]\nfall = 7\n'),
                      {'backends': 'database,worker', 'interval': '3'})
    assert (made.settings.fall, made.settings.interval) == (7, 3.0)
    assert made.settings.backends == ['database', 'worker']
    assert made.settings == settings_of_tests.make(
        fall=7, interval=3.0, backends=['database', 'worker'])


def test_they_cannot_be_changed(conf):
    made = views.View(conf(''), {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.settings.fall = 3


def test_the_options_of_plugins_are_left_out(conf):
    made = views.View(conf(''), {'greeting': 'good day'})
    made.register_opt(cfg.StrOpt('greeting'), group=opts.GROUP)
    assert made.healthcheck.greeting == 'good day'
    assert not hasattr(made.settings, 'greeting')


def test_secrets_are_not_shown():
    secrets = {opt.dest: 'mysql://user:secret@host/'
               for opt in opts.all_opts() if opt.secret}
    assert secrets
    assert 'secret' not in repr(settings_of_tests.make(**secrets))


def test_we_read_the_typed_ones():
    """What plugins read as ``conf.healthcheck`` is not checked by mypy."""
    root = pathlib.Path(settings.__file__).parents[1]
    untyped = re.compile(r'view\.healthcheck\.\w|\bself\.settings\.|'
                         r'plugin\.settings\.|settings: Any')
    assert [path.name for path in root.rglob('*.py')
            if untyped.search(path.read_text())] == []
