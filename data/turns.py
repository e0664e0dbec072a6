"""What the user shows and says: built in one place for training and evaluation."""

from dataclasses import dataclass

from PIL import Image

from data.examples import VQAExample
from data.images import open_images
from data.prompts import check_template, render_prompt


@dataclass(frozen=True)
class UserTurn:
    """The images, decoded, and the text that follows them: what a processor encodes."""

    text: str
    images: list[Image.Image]
    keep_size: bool  # the images' size was asked for: the model's processor leaves it
    system: str = ""  # of the system's turn before it, where the row brings one


class TurnBuilder:
    """Turns an example into the user's turn: one template, one image size (0: the image's own)."""

    def __init__(self, template: str, image_size: int) -> None:
        if image_size < 0:
            raise ValueError(f"image size {image_size} is negative: 0 leaves images as they are")
        self.template = check_template(template, "of the run")
        self.image_size = image_size

    def __call__(self, example: VQAExample) -> UserTurn:
        """Return the example's turn; a ValueError names the example whose image cannot be read."""
        images = open_images(example, self.image_size)
        text = render_prompt(self.template, example.question, example.options, example.form)
        return UserTurn(text, images, self.image_size > 0, example.system)
