"""What the tests of weights share."""

from pathlib import Path

import pytest

from nets import weights


@pytest.fixture
def model_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `model/` of this test's own."""
    monkeypatch.setattr(weights, "MODEL_DIR", tmp_path)
    return tmp_path
