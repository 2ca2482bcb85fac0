"""The compiled kernels of the fast network on a CPU: C++ sources, their build, their memory and their place in autograd."""
