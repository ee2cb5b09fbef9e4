"""The words and the table on efficiencies."""

from pathlib import Path

import pytest

from bench.analysis import results
from bench.analysis.results import Run
from bench.harness.suite import Figure
from bench.report.efficiencies import advice, efficiencies
from tests.bench.record import RECORD


def measured(ranks: int, learned: float, **factors: float) -> dict:  # type: ignore[type-arg]
    found = {"balance": 1.0, "serialisation": 1.0, "transfer": 1.0, **factors}
    found["parallel"] = found["balance"] * found["serialisation"] * found["transfer"]
    metrics = {f"{name}_efficiency": value for name, value in found.items()} | {"learned_microseconds": learned}
    return RECORD | {"ranks": ranks, "point": f"strong/ranks={ranks}", "experiment": "strong", "metrics": metrics}


@pytest.mark.parametrize(
    ("factor", "cure"),
    [
        ("balance", "a multiple of the ranks"),
        ("serialisation", "wait for each other"),
        ("transfer", "raise --worker-batch"),
    ],
)
def test_the_lowest_factor_is_named_with_its_cure(factor: str, cure: str) -> None:
    others = {"balance": 0.85, "serialisation": 0.85, "transfer": 0.85}
    (row,) = results.rows([measured(4, 5.0, **{**others, factor: 0.7})], "strong", "parallel_efficiency")
    assert advice(row).startswith(f"With 4 ranks {factor} is 0.70: ") and cure in advice(row)


def test_where_all_is_well_nothing_is_advised() -> None:
    (row,) = results.rows([measured(2, 5.0, balance=0.95, transfer=0.91)], "strong", "parallel_efficiency")
    assert advice(row) == "With 2 ranks nothing takes more than a tenth of the time from learning."


def test_computation_that_does_not_scale_is_beside_the_efficiencies() -> None:
    found = [measured(1, 4.0), measured(2, 5.0, transfer=0.8)]
    svg, (part,) = efficiencies("strong", Figure("efficiencies"), [("here", Run(Path(), {}, [], {}, found))])
    assert svg.startswith("<svg")
    assert part.columns[:1] + part.columns[-2:-1] == ["ranks", "computation scaling"]
    assert [[cell.text for cell in row[:-1]] for row in part.rows] == [
        ["1", "1.00", "1.00", "1.00", "1.00", "1.00"],
        ["2", "0.80", "1.00", "1.00", "0.80", "0.80"],
    ]
    assert part.note.startswith("With 2 ranks transfer is 0.80")


def test_where_ranks_share_cores_there_is_nothing_to_draw() -> None:
    assert efficiencies("strong", Figure("efficiencies"), [("here", Run(Path(), {}, [], {}, [RECORD]))]) == ("", [])
