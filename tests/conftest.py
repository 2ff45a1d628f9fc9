from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real data sets that lies beside the project on some machines."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no {path.relative_to(path.parents[2])} beside the project")
    return path
