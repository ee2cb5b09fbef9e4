"""Settings from the command line and from YAML: the same checks, the same names."""

import shlex
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mpinn import config
from mpinn.config import Options, Settings
from mpinn.system.errors import UsageError


def typed(*words: str) -> Options:
    return Options(**config.given(config.parse(words)))


def resolved(options: Options, exemplars: int = 60000, ranks: int = 8) -> Settings:
    assert isinstance(options.worker_batch, int)
    return config.resolve(options, options.worker_batch, 784, 10, exemplars, ranks)


def test_defaults_are_the_papers() -> None:
    settings = resolved(typed(), ranks=1)
    assert settings.layers == (784, 100, 10)
    assert settings.activations == ("identity", "elu", "softmax")
    assert (settings.learning_rate, settings.l1, settings.l2, settings.alpha) == (0.8, 1e-7, 1e-7, 0.5)
    assert (settings.worker_batch, settings.workers, settings.merge) == (100, 1, "mean")


def test_every_setting_is_an_option_and_a_yaml_key(tmp_path: Path) -> None:
    words = shlex.split(
        "--epochs 3 --workers 4 --worker-batch 50 --learning-rate 0.5 --l1 1e-6 --l2 0 --alpha 1 --layers 784 30 10 "
        "--activations identity relu softmax --no-bias --no-layer-normalisation --layer-rates 1 2 "
        "--worker-momentum 0.5 --loss cross-entropy "
        "--merge block-momentum --block-momentum 0.5 --learning-rate-scale 2 --merge-format int32 --overlap "
        "--exchange allreduce --balance measured --learning-ranks cores "
        "--kernel reference --seed 7 --data d --test-data t --target-accuracy 95 --target-set train --evaluate-every 2 "
        "--checkpoint c --checkpoint-every 3 --resume r --result f --time-limit 60 --quiet --log-level info --debug "
        "--fault-tolerance ulfm --min-ranks 2 --check-replicas 3 --stall-warning 4 --stall-timeout 5 "
        "--optimizer adam --merge-rate 0.1 --momentum 0.8 --beta1 0.8 --beta2 0.9 --epsilon 1e-6 --schedule step "
        "--decay 0.2 --decay-epochs 4 --schedule-epochs 9 --warm-up 1000 --initial he --input-divisor 255 "
        "--dropout 0.1 --trace t.json --trace-rounds 7"
    )
    by_hand = typed(*words)
    assert all(getattr(by_hand, name) != getattr(Options(), name) for name in config.FIELDS)
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


@pytest.mark.parametrize("percent", [0.0, 1.0, 97.0])
def test_a_target_of_at_least_one_percent_or_none_is_taken(percent: float) -> None:
    assert typed("--target-accuracy", str(percent)).target_accuracy == percent


def test_what_is_typed_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text("epochs: 3\nseed: 4\n")
    settings = typed("--seed", "5", "--config", str(tmp_path / "c.yml"))
    assert (settings.epochs, settings.seed) == (3, 5)


@pytest.mark.parametrize(
    "words, message",
    [
        ("--epochs 0", "--epochs: expected a whole number (passes over the training set), at least 1, got 0"),
        ("--epochs 1.5", "--epochs: expected a whole number"),
        ("--worker-batch auot", "at least 1, at most 2147483647, or auto or all, got 'auot' (did you mean 'auto'?)"),
        ("--learning-rate 0", "more than 0"),
        ("--learning-rate nan", "at most 1000000, got nan"),
        ("--learning-rate inf", "at most 1000000, got inf"),
        ("--block-momentum 1", "less than 1"),
        ("--time-limit inf", "more than 0, got inf"),
        ("--merge maen", "expected mean or block-momentum or gradient, got 'maen' (did you mean 'mean'?)"),
        ("--optimizer adan", "did you mean 'adam'"),
        ("--decay 1", "less than 1"),
        ("--l1 -1", "at least 0"),
        ("--layers 784", "at least two"),
        ("--layers 784 0 10", "at least 1"),
        ("--activations identity elo softmax", "did you mean 'elu'"),
        ("--worker-bach 3", "did you mean '--worker-batch'"),
        ("--epochs", "expected one argument"),
        ("--target-accuracy 101", "at most 100"),
        ("--trace-rounds 0", "--trace-rounds: expected a whole number (of how many rounds, the run's first"),
        ("--target-accuracy 0.97", "--target-accuracy 0.97: a percentage; is 97 meant?"),
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
        ({"activations": ("identity", "softmax", "softmax")}, "may take softmax, and no other"),
        ({"activations": ("identity", "elu", "relu")}, "--loss quadratic takes softmax or sigmoid or tanh or identity"),
        ({"activations": ("identity", "elu", "tanh"), "loss": "cross-entropy"}, "takes softmax or sigmoid for"),
        ({"activations": ("identity", "elu", "sigmoid"), "loss": "quadratic-exact"}, "takes softmax for"),
        ({"merge": "block-momentum", "optimizer": "adam"}, "leave out --optimizer"),
        ({"merge": "gradient", "momentum": 0.5}, "--momentum needs --optimizer momentum or nesterov"),
        ({"merge": "gradient", "worker_momentum": 0.5}, "workers make no steps"),
        ({"layer_rates": (1.0,)}, "--layer-rates: 1 given for 2 layers"),
        ({"beta1": 0.5}, "--beta1 needs --optimizer adam or nadam"),
        ({"merge": "gradient", "optimizer": "rmsprop", "beta1": 0.5}, "--beta1 needs"),
        ({"merge_rate": 0.5}, "--merge-rate needs --merge mean and an --optimizer"),
        ({"merge": "gradient", "merge_rate": 0.5}, "--merge-rate needs --merge mean"),
        ({"merge": "gradient", "overlap": True}, "--overlap needs --merge mean or block-momentum, without"),
        ({"optimizer": "adam", "overlap": True}, "--overlap needs --merge mean or block-momentum, without"),
        ({"decay": 0.5}, "--decay: --schedule constant has no such setting"),
        ({"schedule": "cosine", "decay_epochs": 2}, "--decay-epochs: --schedule cosine has no such"),
        ({"schedule": "step", "schedule_epochs": 2}, "--schedule-epochs: --schedule step has no such"),
        ({"schedule": "plateau", "evaluate_every": 2}, "leave out --evaluate-every"),
        ({"learning_rate": 2.0, "l2": 0.5}, "--l2"),
        ({"workers": 601}, "at most 600 --workers, or --worker-batch 99 or less"),
        ({"block_momentum": 0.5}, "--merge block-momentum"),
        ({"learning_rate_scale": 2.0}, "--merge block-momentum"),
        ({"merge": "block-momentum", "learning_rate_scale": 1e6, "l2": 1e-5}, "--l2"),
    ],
)
def test_settings_that_cannot_work_together_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("--", "-.")):
        resolved(Options(**changes))


def test_a_short_round_is_allowed_as_long_as_every_worker_has_an_exemplar() -> None:
    assert resolved(Options(workers=600), 59901).workers == 600


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
    settled = resolved(Options(workers=16, merge="block-momentum", **given_settings))
    assert (settled.block_momentum, settled.learning_rate_scale) == (momentum, scale)


@pytest.mark.parametrize(
    "given_settings, rule, rate, hyper",
    [
        ({}, "mean", 0.0, (0, 0, 0, 0)),
        ({"merge": "block-momentum"}, "block-momentum", 0.0, (0, 0, 0, 0)),
        ({"merge": "gradient", "optimizer": "nadam"}, "nadam", 0.002, (0, 0.9, 0.999, 1e-8)),
        (
            {"merge": "gradient", "optimizer": "nadam", "learning_rate": 0.1, "beta1": 0},
            "nadam",
            0.1,
            (0, 0, 0.999, 1e-8),
        ),
        ({"merge": "gradient", "optimizer": "rmsprop"}, "rmsprop", 0.002, (0, 0, 0.99, 1e-8)),
        ({"optimizer": "nesterov", "merge_rate": 0.5, "momentum": 0.8}, "nesterov", 0.5, (0.8, 0, 0, 0)),
    ],
)
def test_an_optimizer_has_its_usual_settings_unless_given(
    given_settings: dict, rule: str, rate: float, hyper: tuple[float, ...]
) -> None:
    settled = resolved(Options(workers=16, **given_settings))
    assert (settled.rule, settled.master_rate, tuple(settled.hyper)) == (rule, rate, hyper)
    again = resolved(Options(**{name: getattr(settled, name) for name in config.WEIGHTS}))
    assert again.determines_weights == settled.determines_weights  # as for a run that is resumed


@pytest.mark.parametrize(
    "given_settings, normalised, initial, divisor, rate",
    [
        ({}, True, "uniform", None, 0.8),
        ({"layers": (784, 10)}, True, "uniform", None, 0.8),
        ({"layers": (784, 1000, 10)}, True, "uniform", None, 0.8),
        ({"layers": (784, 24, 10)}, True, "uniform", None, 0.8 * (25 / 101) ** (4 / 3)),
        ({"loss": "cross-entropy"}, True, "uniform", None, 0.2),
        ({"worker_momentum": 0.75}, True, "uniform", None, 0.2),
        ({"layers": (784, 300, 100, 10)}, False, "lecun", 255, 0.01),
        ({"layers": (784, 300, 24, 10), "loss": "cross-entropy"}, False, "lecun", 255, 0.01 * 25 / 101 / 4),
        ({"layers": (784, 300, 100, 10), "layer_normalisation": True}, True, "uniform", None, 0.8),
        ({"layer_normalisation": False, "initial": "he", "input_divisor": 100}, False, "he", 100, 0.01),
        ({"activations": ("identity", "selu", "softmax")}, False, "lecun", 255, 0.01 / 8),
        ({"merge": "gradient"}, False, "lecun", 255, 1.0),
        ({"merge": "gradient", "loss": "cross-entropy"}, False, "lecun", 255, 0.25),
        ({"merge": "gradient", "optimizer": "adam", "loss": "cross-entropy"}, False, "lecun", 255, 0.002),
        ({"learning_rate": 0.3}, True, "uniform", None, 0.3),
    ],
)
def test_how_a_network_begins_and_learns_follows_from_what_it_is(
    given_settings: dict, normalised: bool, initial: str, divisor: int | None, rate: float
) -> None:
    settled = resolved(Options(**given_settings))
    found = (settled.layer_normalisation, settled.initial, settled.input_divisor)
    assert found == (normalised, initial, divisor) and settled.learning_rate == pytest.approx(rate)


def test_a_schedule_that_ends_does_so_with_the_run_that_began_it() -> None:
    settled = resolved(Options(epochs=7, schedule="cosine"))
    assert settled.plan.epochs == 7
    resumed = resolved(Options(**(settled.determines_weights | {"epochs": 9})))
    assert resumed.plan.epochs == 7 and resumed.epochs == 9


@pytest.mark.slow
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


BOMB = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
MERGES = "{" * 40 + "<<: {a: 1}" + "}" * 40


@pytest.mark.parametrize(
    "text, message",
    [
        ("\n".join(["a0: &a0 [x, x, x]", *BOMB]), "aliases are not allowed"),
        (f"layers: {{<<: [{MERGES}]}}", "merges (<<) are not allowed"),
        ("epochs: 1\nseed: 2\nepochs: 3\n", "line 1, column 1: a key is given twice"),
        ("- 1\n", "expected a mapping"),
        ("x" * (2**16 + 1), "65,537 bytes, but at most 65,536 are read"),
        ("seed: !!timestamp x", "tags are not allowed"),
        ("seed: !!int ''", "tags are not allowed"),
        ("seed: 1" + ":59" * 20_000, "seed: expected a whole number"),
        ("alpha: 1" + ":59" * 20_000 + ".5", "not valid YAML"),
        ("epochs: 0x" + "f" * 60_000, "epochs: expected a whole number"),
        ("workers: 1" + "0" * 4200, "workers: expected a whole number"),
        ("[" * 50_000, "not valid YAML"),
        ("[\n" * 30_000, "not valid YAML"),
        ("- " * 30_000, "not valid YAML"),
    ],
)
def test_yaml_that_repeats_itself_is_refused_in_few_words(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yml").write_text(text)
    with pytest.raises(UsageError) as raised:
        config.read_yaml(str(tmp_path / "c.yml"))
    assert message in str(raised.value) and str(raised.value).startswith(str(tmp_path)) and len(str(raised.value)) < 500


def test_settings_leave_nothing_open_and_say_what_the_result_says() -> None:
    settings = resolved(typed("--merge", "block-momentum", "--workers", "16"))
    assert settings.step == pytest.approx(0.8 * settings.learning_rate_scale) and settings.block_momentum == 0.75
    assert settings.network.sizes == (784, 100, 10) and set(settings.determines_weights) == set(config.WEIGHTS)
    as_json = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(settings).items()}
    assert config.as_settings(as_json) == settings
    assert resolved(typed()).rule == "mean" and resolved(typed()).step == 0.8


def test_int16_is_refused_to_more_workers_than_leave_a_step_its_bits() -> None:
    most = config.resolve(Options(workers=255, merge_format="int16"), 10, 784, 10, 60_000, 1)
    assert most.merge_format == "int16"
    with pytest.raises(UsageError, match="256 workers leave too few bits for a step; take int32"):
        config.resolve(Options(workers=256, merge_format="int16"), 10, 784, 10, 60_000, 1)
    assert config.resolve(Options(workers=256), 10, 784, 10, 60_000, 1).merge_format == "int32"
