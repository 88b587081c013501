"""Answers SQL from standard input, a query a line, with DuckDB over a DuckLake catalog: a line of JSON each."""
import importlib, json, pathlib, sys

import duckdb


def extension(name):
    package = importlib.import_module(f"duckdb_extension_{name}")
    return next(pathlib.Path(package.__path__[0]).rglob(f"{name}.duckdb_extension"))


connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
for name in ("sqlite_scanner", "ducklake"):
    connection.execute(f"LOAD '{extension(name)}'")
connection.execute(f"ATTACH 'ducklake:sqlite:{sys.argv[1]}' AS lake (READ_ONLY{sys.argv[2]})")
print(json.dumps({"version": duckdb.__version__}), flush=True)
for line in sys.stdin:
    try:
        rows = connection.execute(line).fetchall()
        answer = {"rows": [[None if value is None else str(value) for value in row] for row in rows]}
    except Exception as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
