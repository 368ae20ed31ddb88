"""Checks a search before it runs: a short test of the device, and an estimate of the duration."""
