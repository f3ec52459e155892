"""Make GoLU known to other libraries: one module a library, which is imported only when it is used.

timm and torchvision build their models with GoLU; timm, transformers and diffusers take "golu" as a name once `enable`
is called, which returns what takes it out again; kernels writes a repository. Importing a module changes nothing.
"""
