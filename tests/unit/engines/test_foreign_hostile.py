"""Files that want to run something, to fill the memory or to mislead: nothing of them runs, and the error names the file."""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import os
import pickle
import pickletools
import random
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published import save, save_checkpoint, write_archive

from engines.network import YOLOv5
from engines.network.foreign import ForeignWeightsError, TorchFile, import_weights, inert_pickle
from engines.network.foreign.inert_pickle import Inert, MalformedError, Name, read_pickle

pytestmark = pytest.mark.usefixtures("one_thread")

FEW_SECONDS = 20.0
"""Processor time that no file may take: the real ones need one, what grows without end would need ages."""


class Calls:
    """Pickled as a call: what a malicious file does."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self.made = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.made


class CallOfACall(Calls):
    """A call whose result is to be called in turn."""

    def __call__(self) -> None:
        raise AssertionError("only pickled")


def attacks(touch: str) -> dict[str, Any]:
    """Objects that leave the file `touch` behind when Python unpickles them."""
    command, code = f"touch {touch}", f"open({touch!r}, 'w').close()"
    return {
        "os.system": Calls(os.system, command),
        "builtins.eval": Calls(builtins.eval, code),
        "builtins.exec": Calls(builtins.exec, code),
        "a folder made": Calls(os.mkdir, touch),
        "subprocess": Calls(subprocess.call, ["touch", touch]),
        "getattr of an import": Calls(CallOfACall(getattr, Calls(__import__, "os"), "system"), command),
        "call in a call": Calls(print, Calls(os.system, command)),
        "in a tuple, a list and a dictionary": {"a": [(1, Calls(os.system, command))]},
        "as state": Calls(dict, state={"x": Calls(os.system, command)}),
        "as argument of a tensor": Calls(torch._utils._rebuild_tensor_v2, Calls(os.system, command), 0, (1,), (1,), False, {}),
        "through torch's own hook": Calls(torch._tensor._rebuild_from_type_v2, os.system, torch.Tensor, (command,), {}),
    }


KINDS = list(attacks("x"))


@pytest.fixture(params=KINDS)
def attack(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Path]:
    """An object, and the file that it would leave behind."""
    mark = tmp_path / "run.mark"
    return attacks(str(mark))[request.param], mark


def test_the_attacks_are_real(attack: tuple[Any, Path]) -> None:
    """Python's own unpickler runs every one of them, whatever comes of it: otherwise this file would prove nothing."""
    thing, mark = attack
    with contextlib.suppress(TypeError, RuntimeError, AttributeError):  # after the harm was done
        pickle.loads(pickle.dumps(thing, 2))
    assert mark.exists()


def test_nothing_of_them_runs(attack: tuple[Any, Path], tmp_path: Path) -> None:
    thing, mark = attack
    for number, legacy in enumerate((False, True)):
        path = tmp_path / f"evil{number}.pt"
        save(path, {"model": thing, "ema": None}, legacy=legacy)
        with pytest.raises(ForeignWeightsError, match=f"evil{number}.pt: "):
            import_weights(path)
    assert not mark.exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_nothing_runs_in_any_protocol(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "run.mark"
    path = write_archive(tmp_path / "evil.pt", pickle.dumps({"model": attacks(str(mark))["os.system"]}, protocol))
    with pytest.raises(ForeignWeightsError, match=r"evil\.pt: holds no network"):
        import_weights(path)
    assert not mark.exists()


def test_a_good_network_with_an_attack_in_it_is_taken_and_told(tmp_path: Path) -> None:
    mark = tmp_path / "run.mark"
    state = YOLOv5("n", 80).state_dict()
    save(tmp_path / "mixed.pt", {"model": state, "opt": Calls(os.system, f"touch {mark}"), "ema": None})
    _, transfer = import_weights(tmp_path / "mixed.pt")
    assert not mark.exists()
    assert transfer.count("taken") > 300
    assert transfer.unusual == ("posix.system",)
    assert "It names posix.system, which no detector needs. Nothing of it was run here" in transfer.warnings[0]


OPCODES = {
    "GLOBAL REDUCE": b"cposix\nsystem\n(S'touch %s'\ntR.",
    "INST": b"(S'touch %s'\niposix\nsystem\n.",
    "OBJ": b"(cposix\nsystem\nS'touch %s'\no.",
    "NEWOBJ": b"\x80\x02cposix\nsystem\n(S'touch %s'\nt\x81.",
    "NEWOBJ_EX": b"\x80\x04cposix\nsystem\n(S'touch %s'\nt}\x92.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x05posix\x8c\x06system\x93(S'touch %s'\ntR.",
    "BUILD": b"\x80\x02cposix\nsystem\n(S'touch %s'\ntR}S'__setstate__'\ncposix\nsystem\nsb.",
}


@pytest.mark.parametrize("code", OPCODES)
def test_every_opcode_that_calls_leaves_something_inert(tmp_path: Path, code: str) -> None:
    mark = tmp_path / "run.mark"
    stream = read_pickle(io.BytesIO(OPCODES[code] % str(mark).encode()), {}, lambda _: None)
    assert isinstance(stream.value, Inert)
    assert stream.value.made_by == Name("posix", "system")
    assert stream.value.arguments == (f"touch {mark}",)
    assert set(stream.names) == {Name("posix", "system")}
    assert not mark.exists()


def test_a_name_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "surprise.py").write_text("raise SystemExit('imported')")
    sys.path.insert(0, str(tmp_path))
    try:
        path = write_archive(tmp_path / "evil.pt", b"\x80\x02csurprise\nThing\n)R.")
        with pytest.raises(ForeignWeightsError, match=r"an object of surprise\.Thing"):
            import_weights(path)
    finally:
        sys.path.remove(str(tmp_path))
    assert "surprise" not in sys.modules


def test_the_reader_has_nothing_to_call_with() -> None:
    tree = ast.parse(Path(inert_pickle.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "io", "pickle", "struct", "collections", "collections.abc", "dataclasses", "typing"}
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"eval", "exec", "compile", "__import__", "globals", "vars", "setattr", "open"}


REFUSED = {"PERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}
REPLACED = ("REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD", "EMPTY_DICT", "DICT", "EMPTY_SET", "ADDITEMS", "FROZENSET", "BYTEARRAY8")
"""Opcodes for which Python's own unpickler calls what the stream names, hashes any key, or clears memory that is not needed."""


def test_every_opcode_is_read_or_refused_by_name() -> None:
    known = {ord(opcode.code) for opcode in pickletools.opcodes if opcode.name not in REFUSED}
    for code in set(range(256)) - known:
        with pytest.raises(MalformedError, match="an opcode that no network's file needs"):
            read_pickle(io.BytesIO(bytes([code]) + b"1\n."), {}, lambda _: None)
    refusing = inert_pickle._InertUnpickler.refuse
    assert {code for code, load in inert_pickle._InertUnpickler.dispatch.items() if load is not refusing} == known


def test_nothing_that_calls_is_taken_over_from_pythons_own_reader() -> None:
    ours, theirs = inert_pickle._InertUnpickler, pickle._Unpickler
    for name in (*REPLACED, *REFUSED):
        code = getattr(pickle, name)[0]
        assert ours.dispatch[code] is not theirs.dispatch[code], name
    for method in ("find_class", "persistent_load", "_instantiate"):  # by which the others come to a class
        assert method in vars(ours)


def deep(opening: bytes, closing: bytes, times: int) -> bytes:
    return b"\x80\x02" + opening * times + b"N" + closing * times + b"."


BOMBS = {
    "a key that takes for ever to hash": b"\x80\x02}" + b")" + b"2\x86" * 60 + b"Ns.",
    "a name that takes for ever to print": b"\x80\x02" + b")" + b"2\x86" * 60 + b")R.",
    "lists in lists": deep(b"]", b"a", 100_000),
    "tuples in tuples": b"\x80\x02N" + b"\x85" * 200_000 + b".",
    "marks without end": b"\x80\x02" + b"(" * 200_000 + b".",
    "a memo of four thousand millions": b"\x80\x02Nr\xff\xff\xff\xff.",
    "a text of a tebibyte": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"a.",
    "bytes of four gibibytes": b"\x80\x03B\xff\xff\xff\xffa.",
    "a number of two gibibytes": b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
    "a number of a million digits": b"\x80\x02L" + b"9" * 1_000_000 + b"L\n.",
    "a pickle of 8 MiB": b"\x80\x02" + b"N0" * (4 << 20) + b"N.",
    "many objects": b"\x80\x02cmodels.common\nConv\nq\x00" + b"h\x00)R" * 200_000 + b".",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_end_soon_and_in_an_error(tmp_path: Path, bomb: str) -> None:
    path = write_archive(tmp_path / "bomb.pt", BOMBS[bomb])
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ForeignWeightsError, match=r"bomb\.pt: "):
        import_weights(path)
    assert time.process_time() - began < FEW_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def tensor_pickle(
    shape: tuple[int, ...], stride: tuple[int, ...], elements: Any = 4, offset: Any = 0, kind: str = "FloatStorage", key: Any = "0"
) -> bytes:
    """A dictionary with one tensor, whose storage is a persistent id."""

    class Stored:
        """Stands for a storage."""

    class Writer(pickle.Pickler):
        def persistent_id(self, thing: Any) -> Any:
            return ("storage", getattr(torch, kind), key, "cpu", elements) if isinstance(thing, Stored) else None

    out = io.BytesIO()
    Writer(out, 2).dump({"model.0.conv.weight": Calls(torch._utils._rebuild_tensor_v2, Stored(), offset, shape, stride, False, {})})
    return out.getvalue()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"shape": (1 << 40,), "stride": (1,)}, "reaches beyond its storage"),
        ({"shape": (5,), "stride": (1,)}, "reaches beyond its storage"),
        ({"shape": (2,), "stride": (1,), "offset": 3}, "reaches beyond its storage"),
        ({"shape": (2,), "stride": (-1,)}, "an impossible shape"),
        ({"shape": (2,), "stride": (1,), "offset": -1}, "an impossible shape"),
        ({"shape": (2, 2), "stride": (1,)}, "an impossible shape"),
        ({"shape": (1,) * 9, "stride": (1,) * 9}, "an impossible shape"),
        ({"shape": (2,), "stride": (1,), "elements": -5}, "a storage that cannot be"),
        ({"shape": (2,), "stride": (1,), "elements": "x"}, "a storage that cannot be"),
        ({"shape": (2,), "stride": (1,), "key": 3}, "a storage that cannot be"),
        ({"shape": (2,), "stride": (1,), "kind": "Tensor"}, "a storage of a type"),
    ],
)
def test_tensors_that_cannot_be(tmp_path: Path, arguments: dict[str, Any], words: str) -> None:
    path = write_archive(tmp_path / "odd.pt", tensor_pickle(**arguments), {"0": bytes(16)})
    with pytest.raises(ForeignWeightsError, match=r"odd\.pt: ") as caught, TorchFile(path):
        pass
    assert words in str(caught.value)


def test_a_weight_larger_than_its_storage_is_not_unfolded(tmp_path: Path) -> None:
    """Stride 0 repeats one number; the network's shape would bound it, but no weight is stored so."""
    path = write_archive(tmp_path / "odd.pt", tensor_pickle((1 << 20, 1 << 20), (0, 0)), {"0": bytes(16)})
    with TorchFile(path) as file, pytest.raises(ForeignWeightsError, match="repeats few numbers"):
        file.numbers(file.value["model.0.conv.weight"])


@pytest.mark.parametrize(
    ("storages", "words"),
    [({"0": bytes(7)}, "archive/data/0 is cut off"), ({}, "There is no item named"), ({"0": bytes(16)}, "")],
)
def test_storages_that_are_short_or_absent(tmp_path: Path, storages: dict[str, bytes], words: str) -> None:
    path = write_archive(tmp_path / "odd.pt", tensor_pickle((2, 2), (2, 1)), storages)
    with TorchFile(path) as file:
        tensor = file.value["model.0.conv.weight"]
        if not words:
            assert torch.equal(file.numbers(tensor), torch.zeros(2, 2))
            return
        with pytest.raises(ForeignWeightsError, match=words):
            file.numbers(tensor)


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    """A file of 40 kB could unfold to 40 MB and more."""
    path = write_archive(tmp_path / "small.pt", b"\x80\x02" + b"N0" * (20 << 20) + b"N.", compressed=True)
    assert path.stat().st_size < 1 << 18
    with pytest.raises(ForeignWeightsError, match=r"compressed, which torch\.save never does"):
        import_weights(path)


def test_modules_within_themselves_end(tmp_path: Path) -> None:
    """Every module holds the next one twice: 2^40 paths, 40 objects."""
    module = b"cmodels.common\nConv\n)R"
    body = module
    for _ in range(40):
        body = module + b"}S'_modules'\n}" + b"(" + b"S'a'\n" + body + b"q\x01" + b"S'b'\n" + b"h\x01" + b"u" + b"sb"
    path = write_archive(tmp_path / "deep.pt", b"\x80\x02" + body + b".")
    with pytest.raises(ForeignWeightsError, match=r"deep\.pt: its modules lie in one another without end"):
        import_weights(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "older form"])
def test_a_file_cut_off_anywhere_is_named(tmp_path: Path, legacy: bool) -> None:
    whole = save_checkpoint(tmp_path / "whole.pt", YOLOv5("n", 1), legacy=legacy).read_bytes()
    path = tmp_path / "cut.pt"
    for share in (0.0, 1e-6, 1e-5, 1e-4, 0.003, 0.01, 0.02, 0.1, 0.5, 0.9, 0.99, 0.9999):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ForeignWeightsError, match=r"cut\.pt: "):
            import_weights(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(ForeignWeightsError, match=r"cut\.pt: "):
        import_weights(path)


def test_a_flipped_bit_in_a_weight_is_found_by_the_checksum(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "flipped.pt", YOLOv5("n", 1))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(ForeignWeightsError, match=r"flipped\.pt: .*CRC"):
        import_weights(path)


def test_damaged_pickles_end_in_an_error_or_are_read(tmp_path: Path) -> None:
    """Two thousand small damages: never another error than the machine's own, and nothing runs."""
    mark = tmp_path / "run.mark"
    state = {"a": [1, 2.5, "x"], "b": Calls(os.system, f"touch {mark}", state={"y": (1, 2)}), "c": {"d": {1, 2}, 3: b"bytes"}}
    draw = random.Random(7)
    read = 0
    for protocol in (0, 2, 4):
        sound = pickle.dumps(state, protocol)
        for _ in range(700):
            damaged = bytearray(sound)
            for _ in range(draw.randint(1, 4)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            try:
                read_pickle(io.BytesIO(bytes(damaged)), {}, lambda _: None)
                read += 1
            except MalformedError:
                pass
    assert 100 < read < 2000
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a file of torch.save"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a file of torch.save"),
        (pickle.dumps({"a": 1}), "not a file of torch.save"),
        (b"PK\x03\x04 and no zip", "not a zip file"),
    ],
)
def test_what_is_no_file_of_torch(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ForeignWeightsError, match=r"x\.pt: ") as caught:
        import_weights(tmp_path / "x.pt")
    assert words in str(caught.value)


def test_torchscript_and_foreign_byte_order_are_named(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"N.")
        archive.writestr("archive/code/__torch__.py", "")
    with zipfile.ZipFile(tmp_path / "big.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"N.")
        archive.writestr("archive/byteorder", b"big")
    for name, words in (("script.pt", "a TorchScript program"), ("big.pt", "the other byte order")):
        with pytest.raises(ForeignWeightsError, match=words):
            import_weights(tmp_path / name)


def test_texts_of_the_file_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    names = ["\x1b[31mred", "[bold]x[/]", "a" * 500, *(str(i) for i in range(77))]
    _, transfer = import_weights(save_checkpoint(tmp_path / "n.pt", YOLOv5("n", 80), names))
    assert transfer.class_names[0] == "?[31mred"
    assert len(transfer.class_names[2]) == 63
