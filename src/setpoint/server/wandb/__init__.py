"""The interface that the wandb client speaks, over our own records.

The client asks by GraphQL (`schema.graphql` is what is answered), streams rows and lines to
``/files/…/file_stream``, and sends and fetches whole files at addresses it is told. Runs,
their metrics and their files are those of `runs`; kept here is only what the client alone
knows: rows that are no numbers, configs and summaries as it wrote them, its artifacts'
collections and aliases, its sweeps.
"""
