"""``python -m tests.bench [NAME…] [--quick] [--readme]``: runs benchmarks, prints their table."""

from __future__ import annotations

import argparse
import importlib
import time
from pathlib import Path
from types import ModuleType

from tests.bench import figures


def benchmarks() -> dict[str, ModuleType]:
    """Every benchmark by name: the modules ``bench_<name>`` that have a ``run``."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    modules = {name: importlib.import_module(f"tests.bench.{name}") for name in names}
    return {
        name.removeprefix("bench_"): module
        for name, module in modules.items()
        if hasattr(module, "run")
    }


def main() -> None:
    """Runs the benchmarks named, or all that do not take minutes; prints a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=main.__doc__)
    known = benchmarks()
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help="tiny inputs; nothing is saved")
    parser.add_argument(
        "--readme", action="store_true", help="print the README's table of the saved figures"
    )
    chosen = parser.parse_args()
    if chosen.readme:
        told, machines = figures.saved()
        print(figures.table(told), *sorted(machines), sep="\n\n")
        return
    if unknown := set(chosen.names) - known.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    names = chosen.names or [n for n, each in known.items() if not getattr(each, "IS_LONG", False)]
    done: list[figures.Figure] = []
    for name in names:
        begun = time.perf_counter()
        of_it = known[name].run(chosen.quick)
        seconds = time.perf_counter() - begun
        print(f"{name}: {seconds:.0f} s", flush=True)
        done += of_it
        if not chosen.quick:
            figures.save(name, of_it, seconds)
    print(f"\n{figures.machine()}\n\n{figures.table(done)}")


if __name__ == "__main__":
    main()
