"""Settings from the command line and from YAML: the same checks, the same names."""

import shlex
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mpinn import config
from mpinn.system.errors import UsageError


def typed(*words: str) -> Config:
    return Config(**config.given(config.parse(words)))


def test_defaults_are_the_papers() -> None:
    settings = config.resolve(typed(), 784, 10, 60000, 1)
    assert settings.layers == (784, 100, 10)
    assert settings.activations == ("identity", "elu", "softmax")
    assert (settings.learning_rate, settings.l1, settings.l2, settings.alpha) == (0.8, 1e-7, 1e-7, 0.5)
    assert (settings.worker_batch, settings.workers, settings.merge) == (100, 1, "mean")


def test_every_setting_is_an_option_and_a_yaml_key(tmp_path: Path) -> None:
    words = shlex.split(
        "--epochs 3 --workers 4 --worker-batch 50 --learning-rate 0.5 --l1 1e-6 --l2 0 --alpha 1 --layers 784 30 10 "
        "--activations identity relu softmax --no-bias --no-layer-normalisation --loss cross-entropy "
        "--merge block-momentum --block-momentum 0.5 --learning-rate-scale 2 --exchange allreduce --balance measured "
        "--kernel reference --seed 7 --data d --test-data t --target-accuracy 95 --target-set train --evaluate-every 2 "
        "--checkpoint c --checkpoint-every 3 --resume r --result f --time-limit 60 --quiet --log-level info --debug "
        "--fault-tolerance ulfm --min-ranks 2 --check-replicas 3 --stall-warning 4 --stall-timeout 5"
    )
    by_hand = typed(*words)
    assert all(getattr(by_hand, name) != getattr(Config(), name) for name in config.FIELDS)
    (tmp_path / "c.yml").write_text(config.show(by_hand))
    lines = (tmp_path / "c.yml").read_text().splitlines()
    assert [line.partition(": ")[0] for line in lines] == list(config.FIELDS) and "layers: [784, 30, 10]" in lines
    assert typed("--config", str(tmp_path / "c.yml")) == by_hand


def test_help_says_every_default_that_is_one_value() -> None:
    said = " ".join(config.parser().format_help().split())
    for told in (
        "order of exemplars (default: 0)",
        "between evaluations (default: 1)",
        "between snapshots (default: 1)",
    ):
        assert told in said
    assert "(default: True)" not in said and "(default: False)" not in said


@pytest.mark.parametrize(
    "name, value, text",
    [
        ("layers", (784, 100, 10), "with --layers 784 100 10"),
        ("seed", 3, "with --seed 3"),
        ("bias", False, "with --no-bias"),
        ("bias", True, "without --no-bias"),
        ("quiet", True, "with --quiet"),
        ("block_momentum", None, "without --block-momentum"),
    ],
)
def test_a_value_is_spelled_as_it_is_typed(name: str, value: object, text: str) -> None:
    assert config.spelled(name, value) == text


def test_wrong_yaml_is_told_with_its_place_and_without_an_excerpt(tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text("epochs: [\n a: b: c\n")
    with pytest.raises(UsageError) as raised:
        config.read_yaml(str(tmp_path / "c.yml"))
    assert "c.yml: not valid YAML: line 2, column 6: " in str(raised.value) and "^" not in str(raised.value)


def test_what_is_typed_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text("epochs: 3\nseed: 4\n")
    settings = typed("--seed", "5", "--config", str(tmp_path / "c.yml"))
    assert (settings.epochs, settings.seed) == (3, 5)


@pytest.mark.parametrize(
    "words, message",
    [
        ("--epochs 0", "--epochs: 0 is out of bounds: at least 1"),
        ("--epochs 1.5", "--epochs: expected a whole number"),
        ("--worker-batch auot", "--worker-batch: expected a whole number or auto, got 'auot'"),
        ("--learning-rate 0", "more than 0"),
        ("--learning-rate nan", "out of bounds"),
        ("--learning-rate inf", "out of bounds"),
        ("--block-momentum 1", "less than 1"),
        ("--l1 -1", "at least 0"),
        ("--layers 784", "at least two"),
        ("--layers 784 0 10", "at least 1"),
        ("--activations identity elo softmax", "did you mean 'elu'"),
        ("--worker-bach 3", "did you mean '--worker-batch'"),
        ("--epochs", "expected one argument"),
        ("--target-accuracy 101", "at most 100"),
        ("stray", "unknown option 'stray'"),
        ("--stop", "unknown option '--stop'; see --help"),
    ],
)
def test_bad_options_are_refused_with_the_cure(words: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        typed(*words.split())
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"layers": (783, 10)}, "784 pixels and 10 classes"),
        ({"layers": (784, 9)}, "784 pixels and 10 classes"),
        ({"layers": (784, 2**21, 10)}, "smaller layers"),
        ({"activations": ("identity", "softmax")}, "2 given for 3 layers"),
        ({"activations": ("identity", "softmax", "softmax")}, "no other does"),
        ({"learning_rate": 2.0, "l2": 0.5}, "--l2"),
        ({"workers": 601}, "at most 600 --workers, or --worker-batch 99 or less"),
        ({"block_momentum": 0.5}, "--merge block-momentum"),
        ({"learning_rate_scale": 2.0}, "--merge block-momentum"),
        ({"merge": "block-momentum", "learning_rate_scale": 1e6, "l2": 1e-5}, "--l2"),
    ],
)
def test_settings_that_cannot_work_together_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("--", "-.")):
        config.resolve(Config(**changes), 784, 10, 60000, 8)


def test_a_short_round_is_allowed_as_long_as_every_worker_has_an_exemplar() -> None:
    assert config.resolve(Config(workers=600), 784, 10, 59901, 8).workers == 600


@pytest.mark.parametrize(
    "given_settings, momentum, scale",
    [
        ({}, 0.75, 4),
        ({"worker_batch": 10}, 0.9375, 1),
        ({"block_momentum": 0.9}, 0.9, 1),
        ({"learning_rate_scale": 8.0}, 0.5, 8),
        ({"worker_batch": 400}, 0, 4),
    ],
)
def test_momentum_and_scale_follow_the_law_unless_given(given_settings: dict, momentum: float, scale: float) -> None:
    settled = config.resolve(Config(workers=16, merge="block-momentum", **given_settings), 784, 10, 60000, 2)
    assert (settled.block_momentum, settled.learning_rate_scale) == (momentum, scale)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_any_yaml_gives_settings_or_a_usage_error(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yml"
    path.write_text(yaml.safe_dump(content))
    try:
        config.read_yaml(str(path))
    except UsageError as error:
        assert str(path) in str(error) and "\n" not in str(error)


def test_a_bomb_of_aliases_is_refused_in_few_words(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    (tmp_path / "bomb.yml").write_text("layers: [*z]\n".replace("[*z]", "&z [1, *z]") + "\n".join(lines))
    with pytest.raises(UsageError) as raised:
        config.read_yaml(str(tmp_path / "bomb.yml"))
    assert len(str(raised.value)) < 500
