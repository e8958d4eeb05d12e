"""For tools that look for a setup.py; everything stands in setup.cfg."""

from setuptools import setup

setup()
