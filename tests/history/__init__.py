"""Tests of the history facts: sql/history and the views over them."""
