"""Sizes of `conv1d` that no setting changes."""

CONVOLUTION_WIDTH, POOLED = 7, 5
"""Words that a convolution covers, and positions that max pooling between two of them merges into one."""
