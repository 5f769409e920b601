"""Tests of pipeline/schema."""
