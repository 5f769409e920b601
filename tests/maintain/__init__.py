"""Tests of pipeline/maintain."""
