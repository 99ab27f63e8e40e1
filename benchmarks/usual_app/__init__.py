"""A function app that has nothing to do with vend."""
