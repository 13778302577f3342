# SPDX-License-Identifier: Apache-2.0

"""oslo.middleware's own tests, with our class in place of theirs.

They are taken from the installed package, so each release of it brings its
own. What they assert of HTTP must hold; what they look up inside of the
class, and in the log, is theirs.
"""

from unittest import mock

from oslo_middleware import healthcheck as theirs
from oslo_middleware.tests import test_healthcheck as upstream
import pytest

import healthcheck


class _Named(healthcheck.Healthcheck):
    """Ours, with the attribute in which theirs keeps its plugins."""

    @property
    def _backends(self):
        return mock.Mock(names=lambda: self._checks.names)


class TestHealthcheck(upstream.HealthcheckTests):

    @pytest.fixture(autouse=True)
    def ours(self, monkeypatch):
        monkeypatch.setattr(theirs, 'Healthcheck', _Named)

    def test_disablefile_unconfigured(self):
        # The log line it looks for is written at each request there.
        self._do_test({'backends': 'disable_by_file'}, expected_body=b'OK')


# Or pytest would run theirs, with their class, too.
del upstream.HealthcheckTests
