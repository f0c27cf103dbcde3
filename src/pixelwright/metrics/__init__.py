"""Scores: counts that add, what is computed from them, and how sure it is."""
