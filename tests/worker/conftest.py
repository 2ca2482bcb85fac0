"""Fixtures of the head's tests that the worker's tests use too."""

from tests.head.conftest import clock, config, folder, store

__all__ = ["clock", "config", "folder", "store"]
