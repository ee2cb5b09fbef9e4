"""Files that mpinn writes."""

import json
import math
from pathlib import Path

from mpinn.system import files


def test_nan_and_infinity_are_never_written(tmp_path: Path) -> None:
    files.write_json(tmp_path / "r.json", {"a": math.nan, "b": [math.inf, {"c": -math.inf}], "d": 1.5})
    text = (tmp_path / "r.json").read_text()
    assert json.loads(text) == {"a": None, "b": [None, {"c": None}], "d": 1.5}
    assert "NaN" not in text and "Infinity" not in text
