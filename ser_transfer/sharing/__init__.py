"""What is shared: the folders that become repositories of the Hub, and shared embeddings read back.

Importing this imports nothing: each kind of repository stands in a file of its own.
"""
