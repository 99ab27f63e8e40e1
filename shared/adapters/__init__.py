"""One file or folder for each outside system, and the only importer of its library."""
