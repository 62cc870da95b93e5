"""The commands of ``headwater``, a module each; importing one costs next to nothing."""
