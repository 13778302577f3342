# SPDX-License-Identifier: Apache-2.0

"""A WSGI application that wraps the one that ``HEALTHCHECK_APP`` names.

For a server's command line: ``uwsgi --module healthcheck.wsgi``. It cannot be
imported without that variable.
"""

import os

from healthcheck.serving import wrapper

application = wrapper.from_environment(os.environ)
