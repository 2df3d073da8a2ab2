"""The GPU kernels: in the interpreter, compiled ahead of time, and through a fake driver."""
