"""Tests of pipeline/flatten."""
