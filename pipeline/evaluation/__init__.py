"""How good a result is against ground truth: tracks per camera, and identities over all cameras."""
