"""How a running pipeline is doing, over HTTP on this machine."""
