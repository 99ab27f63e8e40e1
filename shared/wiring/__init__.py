"""The parts of a runtime, made from the settings; the only room besides `runtime.py` that imports adapters."""
