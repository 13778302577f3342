# SPDX-License-Identifier: Apache-2.0

"""The tests in the documentation, run as they stand there."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]
                       / 'doc' / 'source' / 'examples'))

from test_disk_space import *  # noqa: E402,F401,F403,H303
