"""The loss: results, autograd, memory, traces."""
