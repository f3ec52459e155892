"""Make GoLU known to other libraries: one module a library, which is imported only when it is used.

Each module has `enable`, which adds the name "golu" to the library's activations and returns what takes it out again,
or a function that builds the library's models with GoLU, or both. Importing a module changes nothing.
"""
