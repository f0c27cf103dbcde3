"""Bricks shared by two models or more, and what a model can see."""
