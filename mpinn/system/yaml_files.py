"""YAML from people: read safely, and refused with the file, the line and the reason."""

from pathlib import Path
from typing import Any

import yaml

from mpinn.system import untrusted
from mpinn.system.errors import UsageError
from mpinn.system.schema import shown

LARGEST_FILE = 2**16  # bytes; the longest file that ships has a tenth of them


class Loader(yaml.SafeLoader):
    """Safe YAML without tags; nothing is said twice: no repeated key; no alias and no merge, which grow without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        mark: Any = event.start_mark
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.composer.ComposerError(None, None, "tags are not allowed", mark)
        return super().compose_node(parent, index)

    def flatten_mapping(self, node: Any) -> None:
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "merges (<<) are not allowed", key.start_mark)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key is given twice", node.start_mark)
        return mapping


def parse(text: str) -> Any:
    """Return what a YAML text says. Raises UsageError with line, column and reason."""
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"not valid YAML: {problem(error)}") from None


def problem(error: Exception) -> str:
    """Return what is wrong and where, without the excerpt that PyYAML draws over several lines."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def read(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, {} for an empty file. Raises UsageError that names the file."""
    text = untrusted.content(path, LARGEST_FILE)
    try:
        content = parse(text.decode())
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not valid YAML: {error.reason}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected a mapping ('key: value' lines), got {shown(content)}")
    return content
