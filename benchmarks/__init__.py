"""vend beside what its users would otherwise pick, in one run on one machine; `make bench`."""
