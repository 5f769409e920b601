"""Tests of pipeline/lake."""
