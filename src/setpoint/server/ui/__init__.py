"""What people see: pages made on the server; a script only makes them live."""
