# SPDX-License-Identifier: Apache-2.0

"""The figures of the page that helps to choose times."""

from __future__ import annotations

import pathlib
import re
import shlex

from oslo_config import cfg
import pytest

from healthcheck.cmd import main
from healthcheck.config import opts
from healthcheck.probing import policy as policy_module

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / 'doc' / 'source' / 'choosing.rst').read_text(encoding='utf-8')
FORMULAS = {'detection': 'From a fault to the first 503',
            'recovery': 'From the end of a fault to the first 200'}
SERVICE = '''
[DEFAULT]
transport_url = fake:/
[database]
connection = sqlite:////nowhere/nova.db
[api_database]
connection = sqlite:////nowhere/nova_api.db
'''

EXAMPLE = re.compile(
    r'\.\. code-block:: ini\n\n(.*?)\n\n::\n\n(.*?)\n\n'
    r'\.\. code-block:: sh\n\n(.*?)\n\n'
    r'\.\. code-block:: none\n\n(.*?)\n\n(?=\S)',
    re.DOTALL)
EXAMPLES = {
    section.partition('\n')[0]: match.groups()
    for section in re.split(r'\n(?=[^\n]+\n=+\n)', PAGE)
    if (match := EXAMPLE.search(section))}


def test_there_are_three_examples():
    assert list(EXAMPLES) == ['Three nodes and HAProxy', 'Kubernetes',
                              '60 cells']


@pytest.mark.parametrize('title', EXAMPLES)
def test_example(title, tmp_path, capsys):
    """The command, with these options, says what the page shows."""
    section, balancer, command, shown = EXAMPLES[title]
    path = tmp_path / 'nova.conf'
    path.write_text(SERVICE + re.sub('^    ', '', section, flags=re.MULTILINE))
    words = shlex.split(f'{command} --config-file {path} --format table')
    assert words[0] == 'healthcheck'
    assert main.main(words[1:]) == main.PASS
    cfg.CONF.reset()
    said = capsys.readouterr().out
    assert re.sub('^    ', '', shown, flags=re.MULTILINE) in said
    assert numbers(balancer) == numbers(command)


def numbers(text):
    """How a balancer polls: inter, fall and rise, in anybody's words."""
    found = [re.search(pattern, text) for pattern in (
        r'(?:inter |periodSeconds: )(\d+)',
        r'(?:fall |failureThreshold: )(\d)',
        r'(?:rise |successThreshold: )(\d)')]
    # Kubernetes allows no other successThreshold by default than 1.
    return [match[1] if match else '1' for match in found]


@pytest.mark.parametrize('which', FORMULAS)
@pytest.mark.parametrize('changes', [
    {}, {'interval': 5.0, 'timeout': 2.0}, {'timeout': 20.0},
    {'fall': 4, 'rise': 3}], ids=str)
def test_formula(which, changes):
    policy = policy_module.Policy(**changes)
    text = PAGE.split(FORMULAS[which])[1].split('::\n\n')[1]
    formula = ' '.join(text.split('\n\n')[0].split())
    computed = eval(formula.replace('×', '*').replace('−', '-'),
                    {'max': max}, {name: getattr(policy, name)
                                   for name in policy.__slots__})
    assert computed == pytest.approx(getattr(policy, which))


def test_threads_of_60_cells():
    defaults = {opt.name: opt.default for opt in opts.all_opts()}
    policy = policy_module.Policy()
    hang = (60 + 60 + 1) / policy.interval * 0.8 * policy.timeout
    given = defaults['cells_workers'] * 3 // 4
    text = ' '.join(PAGE.split('60 cells')[1].split())
    assert f'121 ÷ 10 s × 4 s = {hang:g}.' in text
    assert f'``cells_workers`` ({defaults["cells_workers"]}): {given}.' in text
    assert hang < given
