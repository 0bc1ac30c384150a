"""Which runs the tables need, and which of them are still to be done."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmark.methods import METHODS
from benchmark.resolve import Request, resolve
from benchmark.run import is_done
from benchmark.tables import TABLES, Row


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a sweep."""

    name: str  # of the run: "propl/1_4/seed0"
    request: Request

    @property
    def spec(self) -> str:
        """The request as JSON."""
        return json.dumps(asdict(self.request), default=str)


def request_of(spec: str) -> Request:
    """The request that `Job.spec` wrote."""
    fields: dict[str, Any] = json.loads(spec)
    paths = {name: Path(fields[name]) for name in ("data", "results")}
    return Request(**{**fields, **paths, "tasks": tuple(fields["tasks"])})


def requests_of(
    tables: Iterable[int],
    common: Request,
    *,
    methods: Sequence[str] = (),
    splits: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
) -> list[Request]:
    """A request for every row of some of the paper's tables and every seed, each once.

    Args:
        tables: numbers, 1 to 6.
        common: what all have in common; its method, split and seed do not matter. An override
            with a method's name before it is for that method's rows alone.
        methods: only these; empty for all.
        splits: only these; empty for all.
        seeds: of every run.
    """
    asked: dict[tuple[object, ...], Request] = {}
    for number in tables:
        table = TABLES[number]
        if splits and table.partition not in splits:
            continue
        for row in table.rows:
            if methods and row.method not in methods:
                continue
            for seed in seeds:
                key = (row.method, table.partition, seed, *sorted(row.changes.items()))
                asked[key] = replace(
                    common,
                    method=row.method,
                    split=table.partition,
                    seed=seed,
                    overrides={**_meant_for(row, common.overrides), **row.changes},
                )
    return list(asked.values())


def _meant_for(row: Row, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Without those of other methods, and without what the row sets itself."""
    found = {}
    for given, value in overrides.items():
        prefix, _, name = given.rpartition(".")
        of_another = prefix in METHODS and prefix != row.method
        if not of_another and not (name in row.changes and prefix in ("", row.method)):
            found[given] = value
    return found


def sort_out(
    requests: Iterable[Request], *, elsewhere: bool = False
) -> tuple[list[Job], list[Job]]:
    """Runs to do, and runs whose record is there with the same settings and data; each once.

    Args:
        requests: what is asked for.
        elsewhere: the runs are done on machines whose devices are not known here.

    Raises:
        ValueError: a request that cannot be met, or a record with other settings in its place.
    """
    todo: dict[str, Job] = {}  # by name: settings of the user can make two rows the same run
    done: dict[str, Job] = {}
    for request in requests:
        plan = resolve(request)
        found = done if is_done(plan, elsewhere=elsewhere) else todo
        found.setdefault(plan.name, Job(plan.name, request))
    return list(todo.values()), list(done.values())
