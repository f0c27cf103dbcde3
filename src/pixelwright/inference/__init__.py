"""From a model and a picture of any size to logits, labels or probabilities."""
