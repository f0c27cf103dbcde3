"""Studies: grids of recipes and seeds, compared honestly; and searches over ranges."""
