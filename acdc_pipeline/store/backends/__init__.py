"""Where the files of a store are: a local folder or an object store, behind one interface."""
