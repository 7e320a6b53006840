"""How fast the storage is, against a floor that is measured with it: ``python -m tests.benchmarks --help``.

Nothing is asserted here and pytest collects nothing: what a disk does in a given minute is no test.
``docs/benchmarks.md`` says what each number means.
"""
