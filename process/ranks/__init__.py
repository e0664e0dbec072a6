"""The processes that do one command's work together, as torchrun starts them; mostly it is one.

    place()      which one this is and of how many, from the environment alone
    joined()     a context in which they can talk
    world()      what they say to each other: `gather`, `add`, `most`, `together`

Alone all of it costs nothing: what is gathered is a list of one.
"""

from process.ranks.place import Place, place
from process.ranks.world import World, joined, world

__all__ = ["Place", "World", "joined", "place", "world"]
