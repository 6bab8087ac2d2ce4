"""Which artifact store a database's files are in: every server of one database needs that one."""
