"""The paper's protocol: every training method on every slice, every checkpoint on every test file.

protocol_file.py  what a protocol's TOML file says, checked; toml_table.py reads one table
axis_rows.py      which files that is, and their rows
arms.py           one training run: its folder, its settings, whether it is done
schedule.py       all runs and cells: what is there, what is missing
running.py        doing what is missing, in an order in which a part of it is useful
results.py        protocol.json from the cells
comparisons.py    two methods on the same rows
folder.py         writes it, and protocol.md
run_protocol.py   `train.py --protocol FILE.toml`
"""
