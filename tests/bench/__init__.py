"""Benchmarks: run by hand, figures noted in the README."""
