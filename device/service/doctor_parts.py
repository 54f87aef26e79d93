"""The doctor's look at the Python packages: which is missing, and for which part of the appliance it is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from device.service.finding import Finding
from device.settings.config import Config


@dataclass(frozen=True)
class Package:
    """module: what is imported. part: what needs it, in words. needed: does this configuration? source: the next step.
    loads: it is imported for real; otherwise only looked for. instead: another module that serves as well, taken first."""

    name: str
    module: str
    part: str
    needed: Callable[[Config], bool]
    source: str
    loads: bool = True
    instead: str = ""


def _always(_config: Config) -> bool:
    return True


def _tensorrt(config: Config) -> bool:
    return config.engine.runtime == "tensorrt"


_AGAIN = "install leukoscope again"
PACKAGES = (
    Package("numpy", "numpy", "everything that counts", _always, _AGAIN),
    Package("opencv-python-headless", "cv2", "pictures and cameras", _always, _AGAIN),
    Package("pyyaml", "yaml", "the configuration", _always, _AGAIN),
    Package("paho-mqtt", "paho.mqtt.client", "the broker", lambda config: config.broker.enabled, _AGAIN),
    Package(
        "picamera2", "picamera2", "camera kind picamera2", lambda config: config.camera.kind == "picamera2",
        "apt install python3-picamera2, in an environment with --system-site-packages",
    ),
    # Only looked for: loading what works on a GPU can end the process where there is no driver.
    Package(
        "tensorrt", "tensorrt", "engine runtime tensorrt", _tensorrt,
        "on a Jetson: apt install python3-libnvinfer; on a PC: pip install 'leukoscope[tensorrt]'", loads=False,
    ),
    Package(
        "cuda-bindings", "cuda.bindings", "engine runtime tensorrt", _tensorrt,
        "pip install cuda-bindings, which needs no compiler, or pip install 'leukoscope[gpu]' for pycuda",
        loads=False, instead="pycuda",
    ),
)  # fmt: skip


def package_finding(config: Config, packages: tuple[Package, ...] = PACKAGES) -> Finding:
    """One line: fail where this configuration needs what is missing or does not load, else ok with what is missing and for what."""
    faults, absent, steps, chosen = [], [], [], []
    for package in packages:
        other = bool(package.instead) and find_spec(package.instead) is not None
        fault = "" if other else _fault(package)
        if package.instead and not fault and package.needed(config):
            chosen.append(f"CUDA by {package.instead if other else package.name}")
        if fault and package.needed(config):
            faults.append(f"{package.name}: {fault}; needed for {package.part}")
            steps.append(f"{package.name}: {package.source}")
        elif fault:
            absent.append(f"{package.name}: {fault}; only needed for {package.part}")
    seen = ". ".join(faults + absent + chosen) or "all are here"
    return Finding("Packages", "fail" if faults else "ok", seen, "; ".join(steps))


def _fault(package: Package) -> str:
    try:
        if package.loads:
            import_module(package.module)
        elif find_spec(package.module) is None:
            return "not here"
    except ModuleNotFoundError as error:
        return "not here" if error.name and package.module.startswith(error.name) else f"does not load ({error})"
    except Exception as error:  # numpy 2 beside a package built for numpy 1 is a ValueError, a missing libGL an ImportError
        return f"does not load ({error})"
    return ""
