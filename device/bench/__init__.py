"""How fast this machine takes a frame the whole way: `python -m device.bench`, written into docs/benchmarks.md."""

from device.bench.run import run_bench

__all__ = ["run_bench"]
