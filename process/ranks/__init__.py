"""The processes that do one command's work together, as torchrun starts them; mostly it is one.

    place()      which one this is and of how many, from the environment alone
    joined()     a context in which they can talk
    world()      what they say to each other: `gather`, `add`, `most`, `together`
    first_alone  what the first of them does for all, such as writing a file
    first_owns   a context in which the first of them owns a folder for all

Alone all of it costs nothing: what is gathered is a list of one.
"""

from process.ranks.current import first_alone, world
from process.ranks.joining import joined
from process.ranks.owning import first_owns
from process.ranks.place import Place, place
from process.ranks.world import World

__all__ = ["Place", "World", "first_alone", "first_owns", "joined", "place", "world"]
