"""smegmesh: a WireGuard mesh that needs no server. Here is what is true; `actors` is what happens."""

__version__ = "0.1.0"
