"""One module per `acdc` command: parse the options, call a workflow, show a view."""
