"""Circuit files of other tools: what each format says, and circuits cut from files of scores."""
