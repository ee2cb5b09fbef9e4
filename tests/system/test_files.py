"""Files that mpinn writes."""

import json
import math
import os
import pwd
from pathlib import Path

import pytest

from mpinn.system import files
from mpinn.system.errors import UsageError
from mpinn.training import environment


def test_without_a_home_training_goes_on_and_what_needs_one_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert str(files.home()) == os.environ["HOME"]
    monkeypatch.delenv("HOME")
    with pytest.raises(UsageError, match="set HOME"):
        files.home()
    assert environment.wait_policy("Open MPI") in ("yield", "spin", "automatic")


def test_nan_and_infinity_are_never_written(tmp_path: Path) -> None:
    files.write_json(tmp_path / "r.json", {"a": math.nan, "b": [math.inf, {"c": -math.inf}], "d": 1.5})
    text = (tmp_path / "r.json").read_text()
    assert json.loads(text) == {"a": None, "b": [None, {"c": None}], "d": 1.5}
    assert "NaN" not in text and "Infinity" not in text
