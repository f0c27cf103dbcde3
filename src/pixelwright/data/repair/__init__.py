"""A mended copy of a data set: what its masks mean, their pixels, and the copy itself."""
