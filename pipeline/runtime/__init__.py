"""Where stages run. Knows no stage and no value: it moves tuples of items from node to node, in order."""
