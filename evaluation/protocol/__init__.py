"""The paper's protocol: every training method on every slice, every checkpoint on every test file.

config.py       what a protocol's TOML file says, checked
sources.py      which files that is, and their rows
arms.py         one training run: its folder, its settings, whether it is done
schedule.py     what is still to do, in an order in which a part of it is useful
results.py      protocol.json from the cells
comparisons.py  two methods on the same rows
page.py         protocol.md from protocol.json
command.py      `train.py --protocol FILE.toml`
"""
