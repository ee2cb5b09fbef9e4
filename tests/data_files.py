"""Data files of every format that mpinn reads, as bytes, well formed or not."""

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np

from mpinn.datasets import Dataset

Files = dict[str, bytes]
FORMATS = ["idx", "idx.gz", "idx with dots", "csv", "csv.gz", "npz", "npz compressed"]


def idx(array: np.ndarray) -> bytes:
    """Return the array, its values as one byte each, as an IDX file."""
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.astype(np.uint8).tobytes()


def csv(labels: np.ndarray, images: np.ndarray, header: bool = True) -> bytes:
    """Return rows of a label and an image's grey levels."""
    names = ",".join(["label", *(f"pixel{i}" for i in range(images[0].size))])
    rows = (",".join(map(str, [label, *image.ravel().tolist()])) for label, image in zip(labels, images, strict=True))
    return "\n".join([*([names] if header else []), *rows, ""]).encode()


def npy(array: np.ndarray) -> bytes:
    """Return the array as one member of an NPZ file."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz(members: Files, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return an NPZ file; the members are named without their .npy."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return out.getvalue()


def arrays(data: Dataset) -> dict[str, np.ndarray]:
    """Return the data set by the names of an NPZ, images in their shape."""
    return {
        "x_train": data.train_images.reshape(-1, *data.image_shape),
        "y_train": data.train_labels,
        "x_test": data.test_images.reshape(-1, *data.image_shape),
        "y_test": data.test_labels,
    }


def files(data: Dataset, kind: str, header: bool = True) -> Files:
    """Return the data set as files, by their names, in one of FORMATS."""
    named = arrays(data)
    if kind.startswith("npz"):
        members = {name: npy(array) for name, array in named.items()}
        return {"data.npz": npz(members, zipfile.ZIP_DEFLATED if kind == "npz compressed" else zipfile.ZIP_STORED)}
    if kind.startswith("csv"):
        held = {f"{part}.csv": csv(named[f"y_{part}"], named[f"x_{part}"], header) for part in ("train", "test")}
    else:
        held = {
            "train-images-idx3-ubyte": idx(named["x_train"]),
            "train-labels-idx1-ubyte": idx(named["y_train"]),
            "t10k-images-idx3-ubyte": idx(named["x_test"]),
            "t10k-labels-idx1-ubyte": idx(named["y_test"]),
        }
    if kind.endswith(".gz"):
        return {f"{name}.gz": gzip.compress(content, 1) for name, content in held.items()}
    return {name.replace("-idx", ".idx") if "dots" in kind else name: content for name, content in held.items()}


def write(directory: Path, content: Files) -> Path:
    """Write the files; return what `load` takes: the NPZ, or the directory."""
    for name, held in content.items():
        (directory / name).write_bytes(held)
    return directory / "data.npz" if "data.npz" in content else directory
