# SPDX-License-Identifier: Apache-2.0

"""What it costs to look at cells, side by side with another revision.

That is checked out into a worktree for the time of the run. Both use the same
servers and the same virtual environment, and take turns, so that what slows
the machine down for a while slows both of them down. Each is measured by the
benchmark of its own tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import pathlib
import statistics
import subprocess
import sys

from benchmarks import cells

HERE = pathlib.Path(__file__).parents[1]

# Decimals of each figure of cells.Cost.
FIGURES = {'processor': 4, 'round': 2, 'first': 1, 'memory': 0, 'threads': 0,
           'connections': 0, 'request': 2}


@dataclasses.dataclass(frozen=True)
class Figure:
    """One of the costs: the medians of both, and of the ratios in a turn."""

    name: str
    theirs: float
    ours: float
    ratio: float


def measure(directory: pathlib.Path, revision: str, number: int,
            turns: int) -> list[Figure]:
    """Compare this tree with a revision.

    :param number: of cells
    :param turns: how often each of the two is measured
    :raises subprocess.CalledProcessError: without such a revision
    """
    ours: list[Mapping[str, float]] = []
    theirs: list[Mapping[str, float]] = []
    with _worktree(directory / 'tree', revision) as tree, \
            cells.running(number) as (mariadb, rabbitmq):
        config = cells.configure(directory, mariadb, rabbitmq, number)
        for turn in range(turns):
            # Every other time backwards, so that none always comes first.
            both = [(tree, theirs), (HERE, ours)]
            for where, found in both[::-1] if turn % 2 else both:
                found.append(cells.run(where, number, config))
    return [_figure(name, theirs, ours) for name in FIGURES
            if all(name in one for one in theirs)]


def table(figures: Sequence[Figure], revision: str,
          ) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """The head and the rows of a table."""
    return (('Figure', revision, 'this tree', 'ratio'), [
        (one.name, f'{one.theirs:.{FIGURES[one.name]}f}',
         f'{one.ours:.{FIGURES[one.name]}f}', f'{one.ratio:.2f}')
        for one in figures])


def _figure(name: str, theirs: Sequence[Mapping[str, float]],
            ours: Sequence[Mapping[str, float]]) -> Figure:
    return Figure(
        name, statistics.median(one[name] for one in theirs),
        statistics.median(one[name] for one in ours),
        statistics.median(one[name] / other[name]
                          for one, other in zip(ours, theirs)))


@contextlib.contextmanager
def _worktree(path: pathlib.Path, revision: str) -> Iterator[pathlib.Path]:
    """A revision, checked out, with entry points of its own."""
    subprocess.run(['git', 'worktree', 'add', '--quiet', '--detach',
                    str(path), revision], check=True, cwd=HERE)
    try:
        subprocess.run([sys.executable, 'setup.py', '--quiet', 'egg_info'],
                       check=True, cwd=path)
        yield path
    finally:
        subprocess.run(['git', 'worktree', 'remove', '--force', str(path)],
                       check=True, cwd=HERE)
