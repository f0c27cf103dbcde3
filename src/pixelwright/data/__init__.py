"""Data: layouts find it, the index lists it, check reads it, the loader feeds it."""
