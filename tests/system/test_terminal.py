"""Tables on the screen."""

import pytest

from mpinn.system.terminal import Table, aligned, show

TABLE = Table("Points", ["name", "seconds", "note"], [["a/long-name=1", "1.5", ""], ["b", "12.25", "12 of 13"]])


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    assert aligned([TABLE.columns, *TABLE.rows]).splitlines() == [
        "name           seconds  note",
        "a/long-name=1      1.5",
        "b                12.25  12 of 13",
    ]


def test_piped_a_table_is_plain_and_no_name_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    show(Table(TABLE.title, TABLE.columns, [["x" * 300, "1", ""]]))
    said = capsys.readouterr().out
    assert said.startswith("Points\n") and "x" * 300 in said
