# SPDX-License-Identifier: Apache-2.0

"""The shipped sample is what the generator makes of the options."""

from __future__ import annotations

import pathlib
import re

from oslo_config import generator

from healthcheck.config import opts

ETC = pathlib.Path(__file__).parents[2] / 'etc' / 'healthcheck'


def _blocks(sample: str) -> dict[str, str]:
    """From the name of each option to its comment and its default."""
    blocks = {}
    for block in sample.split('\n\n'):
        named = re.search(r'^#(\w+) =.*', block, re.MULTILINE)
        if named:
            blocks[named[1]] = block.strip()
    return blocks


def test_sample_is_what_the_generator_makes(tmp_path):
    made = tmp_path / 'made.sample'
    generator.main(['--config-file', str(ETC / 'config-generator.conf'),
                    '--output-file', str(made)])
    # Only what we define: the rest, and before oslo.middleware 7.0 "path",
    # depends on its release.
    ours = {opt.dest for _, group in opts.list_opts() for opt in group}
    regenerated = _blocks(made.read_text())
    shipped = _blocks((ETC / 'healthcheck.conf.sample').read_text())
    assert ours <= regenerated.keys()
    assert ({name: shipped.get(name) for name in ours}
            == {name: regenerated[name] for name in ours})


def test_sample_has_every_option_and_no_other():
    shipped = _blocks((ETC / 'healthcheck.conf.sample').read_text())
    known = {opt.dest for opt in opts.all_opts()}
    assert shipped.keys() == known
