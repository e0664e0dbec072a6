"""The paper's protocol: every training method on every slice, every checkpoint on every test file.

config.py       what a protocol's TOML file says, checked; toml_table.py reads one table
sources.py      which files that is, and their rows
arms.py         one training run: its folder, its settings, whether it is done
schedule.py     all runs and cells: what is there, what is missing
running.py      doing what is missing, in an order in which a part of it is useful
results.py      protocol.json from the cells
comparisons.py  two methods on the same rows
page.py         protocol.md from protocol.json
output.py       writes both
command.py      `train.py --protocol FILE.toml`
"""
