"""`./vend`: asks the running app, reads the two documents, breaks the local cloud. Not deployed."""
