"""Everything that is deployed: a pure core, and a rim of one file per outside system."""
