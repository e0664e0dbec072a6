"""A place is asked for before the work: whose it is, and whether it can be written to."""

from pathlib import Path

import pytest

from process.places import check_new_directory, check_own_directory


def test_a_place_is_ones_own_by_its_mark(tmp_path):
    for place in (tmp_path / "new" / "below", tmp_path):
        check_own_directory(place, "cells", "matrix")
    (tmp_path / "notes").write_text("")
    with pytest.raises(ValueError, match=r"holds files \(notes \.\.\) and no matrix to go on with"):
        check_own_directory(tmp_path, "cells", "matrix")
    (tmp_path / "cells").mkdir()
    check_own_directory(tmp_path, "cells", "matrix")
    with pytest.raises(ValueError, match="notes is a file: name another --output-dir"):
        check_own_directory(tmp_path / "notes", "cells", "matrix")
    with pytest.raises(
        ValueError, match=r"below cannot be made, .* is no folder that you may write"
    ):
        check_own_directory(tmp_path / "notes" / "below", "cells", "matrix")


def test_a_mount_point_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_mount", lambda _: True)
    with pytest.raises(ValueError, match="is a mount point, which cannot be replaced"):
        check_new_directory(tmp_path)
