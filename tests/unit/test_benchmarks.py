# SPDX-License-Identifier: Apache-2.0

"""How two trees are compared."""

import contextlib

import pytest

from benchmarks import against
from benchmarks import cells


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """The trees that were measured, in turn."""
    trees = []
    costs = {'tree': iter([0.4, 0.8, 0.2]), against.HERE.name: iter(
        [0.1, 0.4, 0.1])}

    def run(tree, number, config):
        trees.append(tree.name)
        return {'processor': next(costs[tree.name]), 'threads': 10,
                'new': 1} if tree == against.HERE else {
                    'processor': next(costs[tree.name]), 'threads': 20}

    monkeypatch.setattr(cells, 'run', run)
    monkeypatch.setattr(cells, 'configure', lambda *args: tmp_path)
    monkeypatch.setattr(cells, 'running',
                        lambda number: contextlib.nullcontext((None, None)))
    monkeypatch.setattr(against, '_worktree',
                        lambda path, revision: contextlib.nullcontext(path))
    return trees


def test_both_take_turns(measured, tmp_path):
    against.measure(tmp_path, 'a revision', 10, 3)
    here = against.HERE.name
    assert measured == ['tree', here, here, 'tree', 'tree', here]


def test_ratios_are_those_within_a_turn(measured, tmp_path):
    assert against.measure(tmp_path, 'a revision', 10, 3) == [
        against.Figure('processor', 0.4, 0.1, 0.5),
        against.Figure('threads', 20, 10, 0.5)]


def test_the_table_names_the_revision():
    assert against.table([against.Figure('processor', 0.4, 0.1, 0.25)],
                         'v1') == (
        ('Figure', 'v1', 'this tree', 'ratio'),
        [('processor', '0.4000', '0.1000', '0.25')])
