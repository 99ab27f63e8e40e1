"""The protocol as pure functions of bytes and time: no I/O, clock, environment, randomness, logging or await."""
