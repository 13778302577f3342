# SPDX-License-Identifier: Apache-2.0

"""What holds for all tests."""

from hypothesis import HealthCheck
from hypothesis import settings

# No test fails for being slow: a machine may stand still for seconds.
settings.register_profile(
    'unhurried', deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile('unhurried')
