# Paths are relative and without spaces, so that a checkout may lie in "any folder".
# `make demo PYTHON=/path/to/python3.11` chooses the interpreter that .venv is made from.
.PHONY: demo test test-all clean

demo: .venv/installed-all
	.venv/bin/edgekd run digits

test: .venv/installed-dev
	tools/install-system-packages
	VENV=.venv tools/check

test-all: .venv/installed-dev
	ARM64_LIMIT_S=600 tools/install-system-packages
	VENV=.venv tools/check --all

# ARGS="--quick" is passed on.
bench-%: .venv/installed-all
	.venv/bin/python benchmarks/$*.py $(ARGS)

# Runs and benchmark results are kept: they took time.
clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed-all: pyproject.toml tools/constraints.txt
	tools/install all
	touch $@

# `dev` contains `all`.
.venv/installed-dev: pyproject.toml tools/constraints.txt
	tools/install dev
	touch .venv/installed-all $@
