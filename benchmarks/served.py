# SPDX-License-Identifier: Apache-2.0

"""What uWSGI loads: the app that the environment names."""

import os
import pathlib

from benchmarks import apps

application = apps.MAKERS[os.environ['BENCHMARK_APP']](
    pathlib.Path(os.environ['BENCHMARK_DIRECTORY']))
