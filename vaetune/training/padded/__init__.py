"""Training steps of one compiled program for all widths of a structure, for GPUs."""
