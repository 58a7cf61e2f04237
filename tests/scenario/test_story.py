"""The story of the demo, step by step: a mail's whole way, and what is refused on it."""

import pytest

from tests.stack.story import STEPS, Story


@pytest.fixture(scope="module")
def story(stack):
    return Story(stack)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_story(story, step):
    step(story)
