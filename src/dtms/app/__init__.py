"""The shell's verbs: gather what a decision may see, let ``core`` decide, write and carry out what follows."""
