from tests.journeys.conftest import browser, pictures

__all__ = ["browser", "pictures"]
