"""Benchmarks: ``python -m tests.bench [NAME…]`` runs them and prints a table; see ``figures``.

A benchmark is a module ``tests/bench/bench_<name>.py`` with ``run(quick) -> list[Figure]``. One that
takes minutes says ``IS_LONG = True`` and runs only when it is named.
"""
