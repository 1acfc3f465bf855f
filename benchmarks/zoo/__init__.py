"""Makes the models of the zoo: trains or edits them, measures them, and writes their folders."""
