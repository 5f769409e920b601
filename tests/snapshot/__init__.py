"""Tests of pipeline/snapshot."""
