"""Layouts: where the files of a data set lie, one layout a file."""
