"""Cards of versions, to read, to edit and to hand on."""
