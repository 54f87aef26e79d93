"""A box in QEMU: started, looked at, typed at, cut off from power.

The image is run as it is shipped. What a test needs besides is asked for with what every systemd has: the boot loader's block, which is
no part of an image's content, may name words for the kernel, and these open a root shell on a second serial port (systemd.debug_shell),
show the kernel on the first, and switch off watchdogs that an emulated processor could not serve. By that shell longer deadlines are
written into /run, where the next start has forgotten them. A disk is a layer above the image's file: each test writes into its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from systemd.image.disk import ENV_OFFSET, environment_block, layout

BROKER = ("10.0.2.100", 1883)
"""Where a guest finds the broker of this machine; nothing else is to be reached from it."""

PROCESSOR = "max,avx=off,avx2=off,fma=off,f16c=off"
"""QEMU 7.2's AVX is wrong somewhere: numpy ended in a segmentation fault, twice of two boots, in the simulated camera's film."""

SHELL_WORDS = "systemd.debug_shell=ttyS1"
WORDS = f"console=ttyS0 no_timer_check tsc=unstable systemd.service_watchdogs=0 systemd.default_timeout_start_sec=1350 {SHELL_WORDS}"
FIRST_BLOCK = {"ORDER": "A B", "A_OK": "1", "A_TRY": "0", "B_OK": "0", "B_TRY": "0"}
_FIRMWARE = Path("/usr/share/OVMF")


class Answer(NamedTuple):
    """What a command in the guest ended with, and said."""

    code: int
    text: str


class VmError(AssertionError):
    """The guest did not do in time what was waited for; with the end of what it said on its serial port."""


class Machine:
    """One box. folder: where its disk's layer, firmware settings, serial logs and sockets lie. broker: a port of this machine."""

    def __init__(
        self, image: Path, folder: Path, *, broker: int | None = None, disk_mib: int = 6144, memory_mib: int = 2048, words: str = WORDS
    ) -> None:
        self.folder, self.serial = folder, folder / "serial.log"
        self.disk = folder / "disk.qcow2"
        self._memory, self._broker = memory_mib, broker
        self._process: subprocess.Popen[bytes] | None = None
        self._monitor: _Monitor | None = None
        self._shell: socket.socket | None = None
        self._read = 0
        self.extra: list[str] = []
        """More of QEMU's options for the next start, such as a stick."""
        folder.mkdir(parents=True, exist_ok=True)
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image.absolute()), str(self.disk), f"{disk_mib}M")
        run("qemu-img", "convert", "-O", "qcow2", str(_FIRMWARE / "OVMF_VARS_4M.fd"), str(folder / "vars.qcow2"))
        self.set_block({**FIRST_BLOCK, "KERNEL_WORDS": words})

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # --- the disk, while the power is off

    def put(self, part: str, file: Path, offset: int = 0) -> None:
        """Write a file's bytes over those of a partition, from its byte `offset`."""
        size = -(-file.stat().st_size // 512) * 512
        at = layout()[part].start + offset
        run("qemu-io", "-f", "qcow2", "-c", f"write -q -s {file} {at} {size}", str(self.disk))

    def take(self, part: str, file: Path, size: int | None = None) -> Path:
        """Copy a partition, or its first bytes, into a file; a data partition that has grown is not wholly in it."""
        found = layout()[part]
        raw = self.folder / "whole.raw"
        run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(self.disk), str(raw))
        with raw.open("rb") as source, file.open("wb") as target:
            source.seek(found.start)
            left = size or found.size
            while left and (block := source.read(min(left, 1 << 22))):
                target.write(block)
                left -= len(block)
        raw.unlink()
        return file

    def set_block(self, values: dict[str, str]) -> None:
        """The boot loader's block: slots, tries, words for the kernel."""
        block = self.folder / "block"
        block.write_bytes(environment_block(values))
        self.put("grubenv", block, ENV_OFFSET)

    # --- power

    def start(self) -> None:
        """Power on. The serial log goes on where it was."""
        assert self._process is None, "it runs already"
        net = "user,id=n0,restrict=on"
        if self._broker is not None:
            relay = f"{sys.executable} {Path(__file__).with_name('vm_relay.py')} {self._broker}"
            net += f",guestfwd=tcp:{BROKER[0]}:{BROKER[1]}-cmd:{relay}"
        command = [
            *("qemu-system-x86_64", "-machine", "q35,hpet=off", "-accel", "tcg,thread=multi", "-cpu", PROCESSOR, "-smp", "2"),
            *("-m", str(self._memory), "-nodefaults", "-display", "none", "-device", "virtio-vga,xres=1280,yres=720"),
            *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={_FIRMWARE / 'OVMF_CODE_4M.fd'}"),
            *("-drive", "if=pflash,format=qcow2,unit=1,file=vars.qcow2"),
            *("-drive", "if=none,id=d0,format=qcow2,file=disk.qcow2", "-device", "virtio-blk-pci,drive=d0,bootindex=0"),
            *("-netdev", net, "-device", "virtio-net-pci,netdev=n0", "-device", "qemu-xhci", "-device", "usb-kbd"),
            *("-chardev", "file,id=s0,path=serial.log,append=on", "-serial", "chardev:s0"),
            *("-chardev", "socket,id=s1,path=shell.sock,server=on,wait=off", "-serial", "chardev:s1"),
            *("-qmp", "unix:qmp.sock,server=on,wait=off", *self.extra),
        ]
        with (self.folder / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._monitor = _Monitor(self.folder / "qmp.sock", self._process)
        self._shell = None

    def kill(self) -> None:
        """Power off, as by pulling the plug."""
        if self._shell is not None:
            self._shell.close()
        if self._monitor is not None:
            self._monitor.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._monitor = self._shell = None

    def wait_off(self, seconds: float) -> None:
        """Until the guest switched itself off. Raises VmError."""
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise VmError(f"still on after {seconds:.0f} s; {self._tail()}") from error
        self.kill()

    # --- what it says

    def said(self) -> str:
        """All that came over the first serial port since the first start, without terminal codes."""
        text = self.serial.read_text(encoding="utf-8", errors="replace") if self.serial.exists() else ""
        return re.sub(r"\x1b\[[0-9;?=]*[a-zA-Z]", "", text).replace("\r", "")

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """The next place on the serial port, behind what was waited for before, that matches. Raises VmError."""
        end = time.monotonic() + seconds
        while True:
            text = self.said()
            if found := re.compile(pattern).search(text, self._read):
                self._read = found.end()
                return found
            if self._process is None or self._process.poll() is not None:
                raise VmError(f"QEMU ended while {pattern!r} was waited for: {(self.folder / 'qemu.log').read_text()[-500:]}")
            if time.monotonic() > end:
                raise VmError(f"no {pattern!r} within {seconds:.0f} s; {self._tail()}")
            time.sleep(0.5)

    def _tail(self) -> str:
        return f"the serial port's last words: {self.said()[-1500:]}"

    # --- the shell on the second serial port

    def wait_shell(self, seconds: float) -> None:
        """Until the guest's root shell answers. Raises VmError."""
        if self._shell is None:
            self._shell = socket.socket(socket.AF_UNIX)
            self._shell.connect(str(_short(self.folder / "shell.sock")))
        end = time.monotonic() + seconds
        while True:
            # sh in place of bash: nothing edits the line; no echo: what comes back is the answer alone.
            self._shell.sendall(b"exec /bin/sh\nstty -echo; PS1=; PS2=; export TERM=dumb SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat\n")
            try:
                self.ask("true", 10)
                return
            except VmError:
                if time.monotonic() > end:
                    raise

    def ask(self, command: str, seconds: float = 120) -> Answer:
        """Run a line in the guest, as root. Raises VmError where no answer came in time."""
        assert self._shell is not None, "wait_shell() first"
        token = f"{time.monotonic_ns():x}"
        self._shell.sendall(f'{command}\necho "<<$?:{token}>>"\n'.encode())
        answer, end = b"", time.monotonic() + seconds
        while not (found := re.search(rb"<<(\d+):" + token.encode() + rb">>", answer)):
            self._shell.settimeout(max(0.1, end - time.monotonic()))
            try:
                if not (part := self._shell.recv(65536)):
                    raise VmError(f"the guest's shell ended at {command!r}")
            except TimeoutError as error:
                raise VmError(f"no answer to {command!r} within {seconds:.0f} s: {answer[-500:]!r}; {self._tail()}") from error
            answer += part
        text = answer[: found.start()].decode("utf-8", "replace").replace("\r", "")
        return Answer(int(found[1]), text.strip())

    def until(self, command: str, seconds: float, pause: float = 2.0) -> str:
        """Ask again and again until the command ends with 0; what it then said. Raises VmError."""
        end = time.monotonic() + seconds
        while (answer := self.ask(command)).code != 0:
            if time.monotonic() > end:
                raise VmError(f"{command!r} still ended with {answer.code} after {seconds:.0f} s: {answer.text[-1500:]}")
            time.sleep(pause)
        return answer.text

    def patience(self, units: Sequence[str], seconds: int = 1350) -> None:
        """Deadlines of these units for an emulated processor on a busy machine, until the next start."""
        folders = " ".join(f"/run/systemd/system/{unit}.d" for unit in units)
        line = f"[Service]\\nTimeoutStartSec={seconds}\\nWatchdogSec=0\\nEnvironment=PYTHONFAULTHANDLER=1\\n"
        self.ask(
            f"mkdir -p {folders}; for d in {folders}; do printf '{line}' > $d/99-patience.conf; done; systemctl daemon-reload", 300
        )

    # --- screen and keys

    def screendump(self, path: Path) -> Path:
        """The screen as a PNG."""
        self.monitor("screendump", filename=str(path.absolute()), format="png")
        return path

    def key(self, *names: str) -> None:
        """Press keys together, by QEMU's names (a, ret, shift, f5)."""
        self.monitor("send-key", keys=[{"type": "qcode", "data": name} for name in names])

    def monitor(self, command: str, **arguments: Any) -> Any:
        """A command of QEMU's monitor, and its answer."""
        assert self._monitor is not None, "start() first"
        return self._monitor.call(command, arguments)

    def reset(self) -> None:
        """The reset button."""
        self.monitor("system_reset")

    def save(self, name: str) -> None:
        """Keep disk and memory of this moment in the disk's layer."""
        self._human(f"savevm {name}")

    def load(self, name: str) -> None:
        """Go back to a moment that was kept (after start(), too). The shell goes on where it was then."""
        self._human(f"loadvm {name}")

    def _human(self, line: str) -> None:
        if said := self.monitor("human-monitor-command", **{"command-line": line}):
            raise VmError(f"{line}: {said.strip()}")


class _Monitor:
    """QEMU's monitor in JSON, one question at a time."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(120)
        for _ in range(600):
            try:
                self._socket.connect(str(_short(path)))
                break
            except OSError:
                if process.poll() is not None:
                    raise VmError(f"QEMU did not start: {(path.parent / 'qemu.log').read_text()[-800:]}") from None
                time.sleep(0.1)
        self._file = self._socket.makefile("rw", encoding="utf-8")
        self._file.readline()
        self.call("qmp_capabilities", {})

    def call(self, command: str, arguments: dict[str, Any]) -> Any:
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        while line := self._file.readline():
            said = json.loads(line)
            if "return" in said:
                return said["return"]
            if "error" in said:
                raise VmError(f"{command}: {said['error']['desc']}")
        raise VmError(f"{command}: QEMU ended")

    def close(self) -> None:
        self._socket.close()


def run(*command: str) -> str:
    """A program of this machine; what it printed. Raises AssertionError with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "error" not in done.stderr.lower(), f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def missing() -> list[str]:
    """Programs and files that a box in QEMU needs and that are not here."""
    programs = ("qemu-system-x86_64", "qemu-img", "qemu-io")
    return [each for each in programs if shutil.which(each) is None] + [
        str(file) for file in (_FIRMWARE / "OVMF_CODE_4M.fd", _FIRMWARE / "OVMF_VARS_4M.fd") if not file.exists()
    ]


def _short(path: Path) -> Path:
    """A socket's path as the kernel takes it: 107 bytes at most."""
    return Path(os.path.relpath(path)) if len(os.fsencode(path)) > 107 else path
