"""`python -m tests.fuzz.fuzz_readers READER -max_total_time=60`: any file is read, or refused with one line.

atheris drives each reader, guided by coverage. Half of the inputs are bytes as they come; the others are right as far
as a container can tell (checksum, zip, gzip, JSON) and wrong inside: some values of a good file are exchanged for
others. What is not a UsageError of one line is a finding, and so is a refusal that takes more than 100 MB beyond what
there was, or 2 seconds of processor time; libFuzzer writes the input to a file.
"""

import copy
import gzip
import hashlib
import io
import json
import random
import re
import resource
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris
import numpy as np
import yaml

with atheris.instrument_imports(include=["mpinn", "bench", "yaml", "zipfile"]):
    from bench.analysis import compare, export, results, trace
    from bench.harness import oracle, result_file, stored, suite
    from bench.report import timeline
    from mpinn import config, datasets
    from mpinn.config import Options
    from mpinn.hosts import hostfile, library
    from mpinn.parallel.timeline import SPAN, Kind
    from mpinn.system.errors import MpinnError
    from mpinn.training import snapshots, trace_events
    from mpinn.training.state import RunState

MOST_MEMORY = 100 * 2**20  # bytes of a refusal
MOST_SECONDS = 2.0  # of processor time
ADDRESS_SPACE = 2**33  # bytes of the whole process, which grows with what libFuzzer keeps
REPOSITORY = Path(__file__).parents[2]
RESULTS = REPOSITORY / "bench/results/epyc-vm/kernels"
FOLDER = Path(tempfile.mkdtemp(prefix="mpinn-fuzz-"))
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 255, 2**16, 2**31, 2**32, 2**63, 2**64, 10**12, 10**25, 10**400),
    *(0.5, -0.5, 1e308, 1e-320, float("inf"), float("nan"), "", " ", "a", "1", "1e999", "auto", "\n", "\0", "\ud800"),
    *("../../x", "/etc/passwd", "<script>", "$\\q$", "é😀", "x" * 70_000, [], {}, [[]], [{}], {"a": 1}, [1] * 1000),
    *("DEEP", "-oProxyCommand=id", "\x1b[2J", "block-momentum", "softmax", [9, 2**24, 3], [2**24] * 20),
]


def nodes(value: Any) -> list[tuple[Any, Any]]:
    """Return every place in nested data, as a container and a key."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *nodes(value[key]))]


def mutated(value: Any, content: bytes) -> Any:
    """Return a good file's content with some values exchanged, left out or given twice, as the bytes say."""
    changed, data = copy.deepcopy(value), atheris.FuzzedDataProvider(content)
    for _ in range(data.ConsumeIntInRange(1, 4)):
        places = nodes(changed)
        if not places:
            break
        container, key = places[data.ConsumeIntInRange(0, len(places) - 1)]
        kind = data.ConsumeIntInRange(0, 5)
        if kind == 0:
            del container[key]
        elif kind == 1:
            container[key] = data.ConsumeInt(8)
        elif kind == 2:
            container[key] = data.ConsumeUnicode(20)
        elif kind == 3 and isinstance(container, list):
            container.extend([container[key]] * data.ConsumeIntInRange(1, 50))
        elif kind == 4:
            for _ in range(data.ConsumeIntInRange(1, 100)):
                container[key] = [container[key]]
        else:
            container[key] = copy.deepcopy(ODD[data.ConsumeIntInRange(0, len(ODD) - 1)])
    return changed


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode().replace(b'"DEEP"', b"[" * 5000 + b"]" * 5000)


def as_yaml(value: Any) -> bytes:
    text = yaml.safe_dump(value, sort_keys=False, default_flow_style=True)
    return text.replace("DEEP", "[" * 5000 + "]" * 5000).encode("utf-8", "surrogatepass")


class Bounds:
    """What a refusal took since `begin`: making a file does not count, reading it does."""

    def begin(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is
        self.before, self.began = kilobytes("VmRSS"), time.process_time()

    def check(self) -> None:
        spent, taken = time.process_time() - self.began, (kilobytes("VmHWM") - self.before) * 1024
        assert spent < MOST_SECONDS, f"{spent:.1f} seconds"
        assert taken < MOST_MEMORY, f"{taken:,} bytes"


BOUNDS = Bounds()


def kilobytes(key: str) -> int:
    """Return a line of this process's status."""
    found = re.search(rf"^{key}:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def put(name: str, content: bytes) -> Path:
    path = FOLDER / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    BOUNDS.begin()
    return path


def idx_file(array: np.ndarray, shape: tuple[int, ...] | None = None, kind: int = 8) -> bytes:
    sizes = array.shape if shape is None else shape
    return struct.pack(">HBB", 0, kind, len(sizes)) + struct.pack(f">{len(sizes)}I", *sizes) + array.tobytes()


IMAGES, LABELS = np.zeros((3, 2, 2), np.uint8), np.arange(3, dtype=np.uint8)


def size(data: atheris.FuzzedDataProvider) -> int:
    """Return a size that a header may claim."""
    return data.PickValueInList([0, 1, 2, 3, 255, 2**16, 2**20, 2**24, 2**31, 2**32 - 1]) ^ data.ConsumeIntInRange(0, 3)


def idx(content: bytes, right: bool) -> None:
    """Bytes: two say where the images end. Right: gzip files, or not, with sizes that are not those of their data."""
    if right:
        data = atheris.FuzzedDataProvider(content)
        shape = tuple(size(data) & 0xFFFFFFFF for _ in range(data.ConsumeIntInRange(1, 4)))
        parts = [idx_file(IMAGES, shape) + bytes(data.ConsumeIntInRange(0, 2**18)), idx_file(LABELS, shape[:1])]
        parts = [gzip.compress(part, 1) if data.ConsumeBool() else part for part in parts]
    else:
        cut = 2 + int.from_bytes(content[:2], "big")
        parts = [content[2:cut], content[cut:]]
    for name, part in zip(("images-idx3", "labels-idx1"), parts, strict=True):
        for which in ("train", "t10k"):
            put(f"idx/{which}-{name}-ubyte", part)
    datasets.load(str(FOLDER / "idx"), None)


def npz(content: bytes, right: bool) -> None:
    """Right: a zip file of arrays whose headers are not theirs."""
    if right:
        data, file = atheris.FuzzedDataProvider(content), io.BytesIO()
        method = zipfile.ZIP_DEFLATED if data.ConsumeBool() else zipfile.ZIP_STORED
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, array in (("x_train", IMAGES), ("y_train", LABELS), ("x_test", IMAGES), ("y_test", LABELS)):
                shape = array.shape
                if data.ConsumeBool():
                    shape = tuple(size(data) for _ in range(data.ConsumeIntInRange(0, 5)))
                kind = data.PickValueInList(["|u1", "<i8", ">u2", "<f4", "<f8", "|O", "<U9", "|b1"])
                order = data.ConsumeBool()
                header = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}".encode()
                header += b" " * data.ConsumeIntInRange(0, 3) + data.ConsumeBytes(data.ConsumeIntInRange(0, 3)) + b"\n"
                body = array.tobytes() + bytes(data.ConsumeIntInRange(0, 2**18))
                archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body)
        content = file.getvalue()
    datasets.load(str(put("x.npz", content)), None)


def csv(content: bytes, right: bool) -> None:
    """Right: rows of numbers, gzipped or not."""
    if right:
        data = atheris.FuzzedDataProvider(content)
        rows = []
        for _ in range(data.ConsumeIntInRange(1, 5)):
            field = data.PickValueInList(
                ["0", "1", "255", "256", " 7", "-1", "1.5", "", "x", "65535", "65536", "9" * 20]
            )
            most = 2**21 // (len(field) + 1)  # of a row of 2 MB
            rows.append(",".join([field] * data.PickValueInList([1, 2, 3, 3, 3, 1000, most])))
        content = data.PickValueInList(["\n", "\r\n", "\n\n"]).join(rows).encode() + data.ConsumeBytes(3)
        content = gzip.compress(content, 1) if data.ConsumeBool() else content
    path = str(put("x.csv", content))
    datasets.load(path, path)


def snapshot(content: bytes, right: bool) -> None:
    """With a right checksum always, or it would end there; right: with a header whose values are exchanged."""
    if right:
        header = as_json(mutated(HEADER, content))
        content = struct.pack("<I", len(header)) + header + VECTORS
    body = snapshots.MAGIC + content
    snapshots.load(put("1.mpinn", body + hashlib.sha256(body).digest()), 1000)


def hosts(content: bytes, right: bool) -> None:
    """A line a host; what is written has a line each, and nothing that a shell could read."""
    asked = content.decode("utf-8", "replace").splitlines()
    written = hostfile.from_profiles(asked, "openmpi").splitlines()
    assert len(written) == len(asked) and all(re.fullmatch(r"[\w.-]+ slots=\d+ max_slots=\d+", one) for one in written)


def read_hostfile(content: bytes, right: bool) -> None:
    for host in hostfile.read(put("hostfile", content)):
        assert re.fullmatch(r"\w[\w.@-]*", host.address, re.ASCII)


def of_yaml(name: str, read: Callable[[str], object], good: list[Any]) -> Callable[[bytes, bool], None]:
    """Return a reader of YAML. Right: a good file with values exchanged."""

    def reader(content: bytes, right: bool) -> None:
        if right and content:
            content = as_yaml(mutated(good[content[0] % len(good)], content[1:]))
        read(str(put(name, content)))

    return reader


def of_json(name: str, read: Callable[[Path], object], good: Any) -> Callable[[bytes, bool], None]:
    """Return a reader of JSON. Right: a good file with values exchanged."""

    def reader(content: bytes, right: bool) -> None:
        read(put(name, as_json(mutated(good, content)) if right else content))

    return reader


def records(content: bytes, right: bool) -> None:
    """What is read can be compared and exported."""
    if right:
        content = b"".join(as_json(one) + b"\n" for one in mutated(RECORDS, content))
    directory = put("run/records.jsonl", content).parent
    found = results.open_run(directory).records
    compare.pairs(found, found)
    export.markdown(export.Table("", ["a"], [[str(row)] for one in found for row in export.flat(one)]))
    for experiment in {one["experiment"] for one in found}:
        results.rows(found, experiment, "native_microseconds")


def snapshot_parts() -> tuple[dict[str, Any], bytes]:
    options = Options(layers=(4, 3, 2), merge="block-momentum", workers=2)
    settings = config.resolve(options, 100, 4, 2, 1000, 2)
    state = RunState.beginning(settings)
    spread = {"min": 0.1, "mean": 0.2, "max": 0.3}
    part = {
        "train_seconds": 1.0,
        "clipped": 0,
        "phases": {name: dict(spread) for name in ("think", "train", "merge", "wait")},
        "learn": dict(spread),
    }
    row = {"epoch": 1, "train_accuracy": 90.0, "test_accuracy": None, **part, "evaluate_seconds": 0.1}
    state.epoch, state.round, state.partial = 2, 3, part
    state.epochs = [row | {"weights_sha256": "0" * 64}]
    state.failures = [
        {"when": "now", "cause": "lost", "rank": 1, "host": "a", "epoch": 1, "round": 2, "seconds_lost": 0.5}
    ]
    state.divergences = [{"epoch": 1, "round": 2, "seen": "nan", "back_to_epoch": 1, "block_momentum": 0.5}]
    content = snapshots.encode(snapshots.Snapshot(settings.determines_weights, "0" * 8, "reference", None, "", state))
    (length,) = struct.unpack_from("<I", content, 8)
    return json.loads(content[12 : 12 + length]), content[12 + length : -32]


HEADER, VECTORS = snapshot_parts()
RECORDS = [json.loads(line) for line in (RESULTS / "records.jsonl").read_text().splitlines()[:3]]
PLAN, SESSIONS = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("plan", "environment"))
RESULT = {
    "status": "completed", "config": {}, "environment": {"kernel_id": "k"}, "data": {"train": 9}, "memory": None,
    "epochs": HEADER["history"]["epochs"], "rounds_per_epoch": 1, "start": {"data": 0.1}, "total_seconds": 1.0,
    "kernel_error": 0.0,
}  # fmt: skip
PROFILES = [yaml.safe_load(file.read_text()) for file in sorted((REPOSITORY / "hosts").glob("*.yml"))]
SUITES = [yaml.safe_load(file.read_text()) for file in sorted((REPOSITORY / "bench/suites").glob("*.yml"))]
CLOCKS = [{"host": host, "uncertainty_seconds": 1e-5} for host in ("a", "b")]
ABOUT = {"program": "mpinn.train", "schema_version": 1, "job": "", "rounds": 2, "cut": True, "clocks": CLOCKS}
SPANS = np.array([(kind, kind, kind + 0.5, 1, 1, 1, 1, 0.1, 0.1, 0.1) for kind in Kind], SPAN)
TRACE = trace_events.text(
    [trace_events.RankSpans(rank, rank, SPANS) for rank in (0, 1)], ["a", "b"], {1: "b"}, ABOUT
).encode()


def result(path: Path) -> None:
    oracle.kept(path, 1)
    result_file.load(path, result_file.Measured)


def points(path: str) -> None:
    suite.points(suite.load(path, []), library.find("raspberry-pi-5"))


def read_trace(content: bytes, right: bool) -> None:
    """Right: a good trace with values of its head or of an event exchanged. What is read can be put into words."""
    if right and content:
        lines = TRACE.splitlines()
        number = content[0] % (len(lines) - 1)
        if number:
            lines[number] = as_json(mutated(json.loads(lines[number].removesuffix(b",")), content[1:])) + b","
        else:
            head = json.loads(lines[0] + b"]}")
            lines[0] = as_json(mutated(head, content[1:])).removesuffix(b"]}")
        content = b"\n".join(lines)
        content = gzip.compress(content) if len(content) % 2 else content
    found = trace.read(put("t.json", content))
    timeline.words(found, trace.window(found, 3, None))


READERS: dict[str, Callable[[bytes, bool], None]] = {
    "idx": idx,
    "npz": npz,
    "csv": csv,
    "yaml": of_yaml("x.yml", config.read_yaml, [yaml.safe_load(config.show(Options()))]),
    "profile": of_yaml("x.yml", library.find, PROFILES),
    "suite": of_yaml("x.yml", points, SUITES),
    "snapshot": snapshot,
    "hosts": hosts,
    "hostfile": read_hostfile,
    "result": of_json("result.json", result, RESULT),
    "records": records,
    "plan": of_json("plan.json", lambda path: stored.load(path.parent, "plan"), PLAN),
    "sessions": of_json("environment.json", lambda path: stored.load(path.parent, "environment"), SESSIONS),
    "trace": read_trace,
    "left_out": of_json("left_out.json", lambda path: stored.load(path.parent, "left_out"), {"a/b": "why", "c": "so"}),
}


def seeds(reader: str) -> list[bytes]:
    """Return good files, from which to begin."""
    saved = io.BytesIO()
    np.savez_compressed(saved, x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=LABELS)
    head = idx_file(IMAGES)
    packed = gzip.compress(head)
    good = {
        "idx": [
            struct.pack(">H", len(head)) + head + idx_file(LABELS),
            struct.pack(">H", len(packed)) + packed + gzip.compress(idx_file(LABELS)),
        ],
        "npz": [saved.getvalue()],
        "csv": [b"label,a,b\n1,0,255\n0,3,4\n"],
        "yaml": [config.show(Options()).encode()],
        "profile": [as_yaml(one) for one in PROFILES],
        "suite": [as_yaml(one) for one in SUITES],
        "snapshot": [struct.pack("<I", len(as_json(HEADER))) + as_json(HEADER) + VECTORS],
        "hosts": [b"raspberry-pi-5=10.0.0.11\nbanana-pi-m3=board.local"],
        "hostfile": [b"# boards\nnode1 slots=2 max_slots=4\nnode2:3\n"],
        "result": [as_json(RESULT)],
        "records": [b"".join(as_json(one) + b"\n" for one in RECORDS)],
        "plan": [as_json(PLAN)],
        "sessions": [as_json(SESSIONS)],
        "trace": [TRACE, gzip.compress(TRACE)],
        "left_out": [b'{"a/b": "why"}'],
    }
    source = random.Random(0)
    return [b"\0" + one for one in good[reader]] + [b"\1" + source.randbytes(40) for _ in range(20)]


def main() -> None:
    name = sys.argv.pop(1)
    reader = READERS[name]
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds(name)):
        (corpus / str(number)).write_bytes(content)

    def target(content: bytes) -> None:
        BOUNDS.begin()
        try:
            reader(content[1:], content[:1] > b"\x7f" or content[:1] == b"\1")
        except MpinnError as error:
            line = str(error)
            assert "\n" not in line and line.encode(), "a line"
            BOUNDS.check()

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))  # what is allocated and not touched, too
    atheris.Setup([*sys.argv, str(corpus), "-timeout=10", "-rss_limit_mb=6144", "-max_len=100000"], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
