"""What is to be converted, from words: a model by its name, its inputs by their sizes.

The command line and the pytest plugin share it. Importing it, `resolve` or `inputs` imports no framework.
"""
