"""Measured seconds and memory, beside what the cost model predicts."""
